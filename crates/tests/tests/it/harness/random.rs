//! Chance that can be repeated.

/// A generator whose seed is printed with a failure; `TEST_SEED` sets it.
pub(crate) fn random() -> fastrand::Rng {
    let given = std::env::var("TEST_SEED").ok().map(|seed| seed.parse().unwrap());
    let seed = given.unwrap_or_else(|| fastrand::u64(..));
    eprintln!("repeat with TEST_SEED={seed}");
    fastrand::Rng::with_seed(seed)
}
