//! Rules of the schema's functions. A check without one of them must fail, or the model proves nothing about it.

/// Rule that can be left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Rule {
    /// `accept` holds lock 121 of the source until its commit
    LockInAccept,
    /// `claim` holds lock 122 of the source
    SourceLockInClaim,
    /// `claim` holds lock 124 of the entities
    EntityLockInClaim,
    /// `claim` looks for an attempt that runs before its first ones
    LookBeforeFirst,
    /// `claim_late` holds lock 124 of the entity
    EntityLockInClaimLate,
    /// `claim_late` tests the turn again under that lock
    SecondLook,
    /// `claim_late` and `finish` lock the rows of `waiting`
    RowLocks,
    /// `expire` holds lock 123 of the token
    TokenLockInExpire,
    /// `expire` tests again that the row is not closed
    SecondLookInExpire,
    /// `finish` tests the token
    TokenTest,
    /// `finish` holds lock 124 of an entity whose delivery ends
    EntityLockInFinish,
    /// `finish` wakes the next delivery of the entity
    Wake,
    /// `finish` names a row in `claimed` as closed only when its last attempt ends
    ClosedWithTheLast,
    /// `replay` holds lock 124 of the entity
    EntityLockInReplay,
    /// `replay` runs one at a time
    ReplayAlone,
    /// `replay` looks for an attempt that runs
    LookInReplay,
    /// `tidy` waits until every row that it drops is closed
    ClosedTest,
    /// `tidy` moves the position of the source
    Position,
    /// `tidy` holds lock 122 of every source
    SourceLocksInTidy,
    /// `TRUNCATE` waits for transactions that have read the table
    TableLocks,
    /// `accept` looks for an identity in older generations too
    LookAtOlder,
    /// There is a generation of identities more than the window lasts
    SpareGeneration,
}
