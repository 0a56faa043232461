//! The vendor's numbered codes. Source: the client extension that the vendor's staff published (2022).

use contract::codes;

codes! {
    /// The interval at which an autoship is processed.
    Frequency {
        /// Every week.
        Weekly = 0,
        /// Every two weeks.
        EveryTwoWeeks = 1,
        /// Every month.
        Monthly = 2,
        /// Every two months.
        BiMonthly = 3,
        /// Every three months.
        TriMonthly = 4,
        /// Every six months.
        TwiceAYear = 5,
        /// Every year.
        Yearly = 6,
        /// Every four weeks.
        Every4weeks = 7,
        /// Every six weeks.
        Every6Weeks = 8,
        /// Every eight weeks.
        Every8Weeks = 9,
        /// Every twelve weeks.
        Every12Weeks = 10,
        /// Every 30 days.
        Every30Days = 11,
        /// Every 45 days.
        Every45Days = 12,
        /// Every 60 days.
        Every60Days = 13,
    }
}

codes! {
    /// The kind of an autoship.
    AutoshipType {
        /// Goods.
        Standard = 0,
        /// Services.
        Services = 1,
        /// The renewal that is due each year.
        YearlyRenewal = 2,
    }
}

codes! {
    /// The origin of an order.
    OrderSource {
        /// Not specified.
        Unknown = 0,
        /// The public API.
        PublicApi = 1,
        /// The first version of the API.
        V1Api = 2,
        /// The second version of the API.
        V2Api = 3,
        /// Corporate Admin.
        CorpAdmin = 4,
        /// A migration of data.
        DataMigration = 5,
        /// An import of orders.
        ImportOrder = 6,
        /// An autoship that was due.
        Autoship = 7,
        /// The facade.
        Facade = 8,
        /// An extension; the channel is not documented.
        UnknownExtension = 9,
        /// An extension through the public API.
        PublicApiExtension = 10,
        /// An extension through the first version of the API.
        V1ApiExtension = 11,
        /// An extension through the second version of the API.
        V2ApiExtension = 12,
        /// An extension of Corporate Admin.
        CorpAdminExtension = 13,
        /// An extension of the import of orders.
        ImportOrderExtension = 14,
        /// An extension of autoships.
        AutoshipExtension = 15,
        /// An extension of the facade.
        FacadeExtension = 16,
    }
}
