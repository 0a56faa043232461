//! The kind of an order, in any of the vendor's spellings.

use contract::codes;

codes! {
    /// The kind of an order.
    ///
    /// The vendor writes a number, digits in a string or a name: `2`, `"2"`, `"AutoShip"`, `"Autoship"`.
    OrderType {
        /// Not specified.
        Unknown = 0,
        /// A single order.
        Standard = 1,
        /// Placed by a recurring schedule.
        Autoship = 2,
        /// Placed while enrolling.
        Enrollment = 3,
        /// Moves commissionable volume; nothing is sold.
        VolumeAdjustment = 4,
    }
}
