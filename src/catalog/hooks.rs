//! The hooks of a catalog and their handlers.

use std::any::type_name;
use std::collections::HashMap;
use std::future::Future;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use serde_json::value::RawValue;
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use crate::event::{DecodeError, Open, decode};
use crate::hook::{Call, Callback, Hook, HookCall, HookFailure, HookOutcome, Model, decoded};

/// A started handler of a hook: the response's JSON.
type Started = BoxFuture<'static, Result<Bytes, HookFailure>>;

type Start<C> = Box<dyn Fn(C, Call) -> Result<Started, DecodeError> + Send + Sync>;

/// One hook, and the handler that takes it if there is one.
pub struct HookRow<C> {
    /// The vendor's id.
    pub id: &'static str,
    /// Other spellings of it.
    pub aliases: &'static [&'static str],
    /// What it stands for, as a schema's description.
    pub about: fn() -> RefOr<Schema>,
    /// A sample request, as JSON text.
    pub example: &'static str,
    /// What the vendor's own logic answers to it, as JSON text.
    pub example_response: &'static str,
    /// What is asked.
    pub request: Body,
    /// What is answered.
    pub response: Body,
    /// Who takes it; a hook without a handler is described only.
    pub handler: Option<HookHandler<C>>,
}

/// A handler with its types forgotten.
pub struct HookHandler<C> {
    /// Its path, for messages.
    pub name: &'static str,
    start: Start<C>,
}

/// What stands on one side of a hook.
#[derive(Clone, Copy)]
pub struct Body {
    /// The schema's name and shape.
    pub schema: fn() -> (String, RefOr<Schema>),
    /// The schemas that it refers to.
    pub referred: fn(&mut Vec<(String, RefOr<Schema>)>),
    /// Reads a body as the model and writes it again: what it does not lose is what it was given.
    pub rewrite: fn(&[u8]) -> Result<Box<RawValue>, DecodeError>,
}

impl Body {
    fn of<M: Model>() -> Self {
        Body {
            schema: || (M::name().into_owned(), <M as PartialSchema>::schema()),
            referred: |schemas| <M as ToSchema>::schemas(schemas),
            rewrite: |body| {
                let (model, _) = decode::<Open<M>>(body)?;
                serde_json::value::to_raw_value(&model)
                    .map_err(|error| DecodeError { path: ".".into(), message: error.to_string() })
            },
        }
    }
}

impl<C> HookRow<C> {
    pub(super) fn new<H: Hook>(handler: Option<HookHandler<C>>) -> Self {
        HookRow {
            id: H::ID,
            aliases: H::ALIASES,
            about: <H as PartialSchema>::schema,
            example: H::example(),
            example_response: H::example_response(),
            request: Body::of::<H::Request>(),
            response: Body::of::<H::Response>(),
            handler,
        }
    }

    /// Who takes it, in words.
    pub fn taker(&self) -> &'static str {
        self.handler.as_ref().map_or("an `.unhandled` line", |handler| handler.name)
    }

    /// The id or alias that `id` is, as the vendor spells it.
    pub fn spelled(&self, id: &str) -> &'static str {
        self.ids().find(|own| own.eq_ignore_ascii_case(id)).unwrap_or(self.id)
    }

    fn ids(&self) -> impl Iterator<Item = &'static str> {
        std::iter::once(self.id).chain(self.aliases.iter().copied())
    }
}

impl<C> HookHandler<C> {
    pub(super) fn new<H, F, Fut>(handler: F) -> Self
    where
        H: Hook,
        F: Fn(C, HookCall<H>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = HookOutcome<H>> + Send + 'static,
    {
        let start = move |context, call: Call| {
            let request = decoded(&call.body)?;
            let callback = Callback::new(call.ticket);
            let answer = handler(context, HookCall { meta: call.meta, request, callback });
            Ok(async move { Ok(serde_json::to_vec(&answer.await?)?.into()) }.boxed())
        };
        HookHandler { name: type_name::<F>(), start: Box::new(start) }
    }

    /// Decodes the call and starts the handler; an `async fn` does not run before it is polled.
    ///
    /// # Errors
    /// [`DecodeError`] if the body is not the request model.
    pub fn start(&self, context: C, call: Call) -> Result<Started, DecodeError> {
        (self.start)(context, call)
    }
}

/// Two lines that claim the same hook.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("hook `{id}` is claimed twice: by {first} and by {second}; remove one of the two lines")]
pub struct HookClash {
    /// The id or alias that both claim.
    pub id: String,
    /// What claims it first: a handler's path, or an `.unhandled` line.
    pub first: &'static str,
    /// What claims it again, likewise.
    pub second: &'static str,
}

pub(super) struct Hooks<C> {
    rows: Vec<HookRow<C>>,
    index: HashMap<String, usize>,
    clashes: Vec<HookClash>,
}

impl<C> Default for Hooks<C> {
    fn default() -> Self {
        Hooks { rows: Vec::new(), index: HashMap::new(), clashes: Vec::new() }
    }
}

impl<C> Hooks<C> {
    pub(super) fn get(&self, id: &str) -> Option<&HookRow<C>> {
        self.index.get(&id.to_ascii_lowercase()).map(|&row| &self.rows[row])
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &HookRow<C>> {
        self.rows.iter()
    }

    pub(super) fn clash(&self) -> Option<&HookClash> {
        self.clashes.first()
    }

    pub(super) fn merge(&mut self, other: Self) {
        self.clashes.extend(other.clashes);
        other.rows.into_iter().for_each(|row| self.push(row));
    }

    pub(super) fn push(&mut self, row: HookRow<C>) {
        let place = self.rows.len();
        for id in row.ids() {
            let first = *self.index.entry(id.to_ascii_lowercase()).or_insert(place);
            if first != place {
                self.clashes.push(HookClash {
                    id: id.to_owned(),
                    first: self.rows[first].taker(),
                    second: row.taker(),
                });
            }
        }
        self.rows.push(row);
    }
}
