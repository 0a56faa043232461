//! The handler's function, called with a transaction.

use super::{Once, Tx};
use crate::event::{Delivery, Event, Outcome};

/// A one-effect handler: `async fn(Context, &mut Tx<'_>, Delivery<E>) -> Outcome`.
#[diagnostic::on_unimplemented(
    message = "`.once` takes no such handler",
    label = "not an `async fn(Context, &mut Tx<'_>, Delivery<…>) -> Outcome`",
    note = "a handler with a `Tx` is registered with `.once(…)`, one without it with `.on(…)`",
    note = "`Tx` is that of the database that `impl Once for Context` names: `webhook_receiver::sqlite::Tx` or `webhook_receiver::postgres::Tx`",
    note = "nothing that is not `Send` may be held over an `.await`"
)]
pub trait OnceHandler<C: Once, E>: Send + Sync + 'static {
    /// Calls the handler.
    fn call(
        &self,
        context: C,
        tx: &mut Tx<'_, C::Db>,
        delivery: Delivery<E>,
    ) -> impl Future<Output = Outcome> + Send;
}

#[diagnostic::do_not_recommend]
impl<C, E, F> OnceHandler<C, E> for F
where
    C: Once,
    E: Event,
    F: Send + Sync + 'static + for<'a, 't> Call<'a, 't, C, E>,
{
    async fn call(&self, context: C, tx: &mut Tx<'_, C::Db>, delivery: Delivery<E>) -> Outcome {
        Call::call(self, context, tx, delivery).await
    }
}

/// One call. `Outlives` says that the transaction lives longer than the loan of it, wherever the trait is mentioned.
pub trait Call<'a, 't, C: Once, E, Outlives = &'a &'t ()> {
    /// The handler's future.
    type Future: Future<Output = Outcome> + Send;

    /// Calls the handler.
    fn call(&self, context: C, tx: &'a mut Tx<'t, C::Db>, delivery: Delivery<E>) -> Self::Future;
}

#[diagnostic::do_not_recommend]
impl<'a, 't, C, E, F, Fut> Call<'a, 't, C, E> for F
where
    C: Once,
    F: Fn(C, &'a mut Tx<'t, C::Db>, Delivery<E>) -> Fut,
    Fut: Future<Output = Outcome> + Send,
{
    type Future = Fut;

    fn call(&self, context: C, tx: &'a mut Tx<'t, C::Db>, delivery: Delivery<E>) -> Fut {
        self(context, tx, delivery)
    }
}
