//! The plan of hook calls, checked before anything is sent.

use std::fmt;
use std::io;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use bytes::Bytes;
use contract::catalog::{HookRow, Table};
use http::{HeaderValue, StatusCode};
use reqwest::Url;
use secrecy::SecretString;
use serde_json::{Value, json};
use settings::{Config, HooksConfig, SourceConfig, is_local};

use super::behaviour::{Logic, VendorBehaviour};
use super::mock_vendor::MockVendor;
use super::request::HookRequest;
use super::services::PostedEvents;
use crate::dry_run::{request_json, write_request};
use crate::plan::{hint, is_segment, proof};
use crate::proof::{NamedHeader, Proof};
use crate::{EmitArgs, body, target};

/// The hooks to call, and the mock vendor.
#[derive(Debug)]
pub struct HookPlan {
    pub(super) calls: Vec<PlannedCall>,
    pub(super) timeout: Duration,
    /// True if the calls are forged, so that each must be refused.
    pub(super) is_forged: bool,
    proof: Proof,
    user: Option<HeaderValue>,
    vendor: VendorPlan,
    posted: Result<PostedEvents, String>,
}

/// One planned call.
#[derive(Debug)]
pub(super) struct PlannedCall {
    pub(super) hook: String,
    pub(super) url: Url,
    pub(super) body: Bytes,
}

#[derive(Debug)]
struct VendorPlan {
    source: String,
    base: Url,
    key: SecretString,
    samples: Vec<(String, &'static str)>,
    behaviour: VendorBehaviour,
}

impl HookPlan {
    /// The plan for these arguments.
    ///
    /// # Errors
    /// The first error: an unknown hook, a body that does not fit its model, an unsafe target, a callback URL that is
    /// not on this machine.
    pub fn new(args: &EmitArgs, catalog: &Table, config: &Config) -> anyhow::Result<HookPlan> {
        let (name, source, hooks) = source(args, config)?;
        let chosen = chosen(args, catalog)?;
        ensure!(
            chosen.len() == 1 || args.data.is_none(),
            "--data is the body of one hook, not of several"
        );
        let data = body::data(args)?;
        let mut calls = Vec::new();
        for (hook, row) in chosen {
            let url = target::url(args, config.listen, Some(&hooks.path), (&hook, true))?;
            let example = row.map(|row| row.example);
            ensure!(
                example.is_some() || data.is_some(),
                "`{hook}` is not in the catalog and has no example; give a body with --data"
            );
            let body = body::body(args, example.unwrap_or_default(), data.as_ref())?;
            if let (Some(row), false) = (row, args.raw) {
                (row.request.rewrite)(&body).map_err(|error| body::misfit(&hook, &error))?;
            }
            calls.push(PlannedCall { hook, url, body });
        }
        let urls: Vec<Url> = calls.iter().map(|call| call.url.clone()).collect();
        let user = args.user.as_deref().map(HeaderValue::from_str).transpose();
        Ok(HookPlan {
            calls,
            timeout: args.timeout,
            is_forged: args.tamper.is_some(),
            proof: proof(args, config, Some((name, source)), source.dialect, &urls)?,
            user: user.context("no header can carry the --user")?,
            vendor: VendorPlan::new(args, catalog, name, hooks)?,
            posted: PostedEvents::new(config, name).map_err(|error| format!("{error:#}")),
        })
    }

    /// Starts the mock vendor at the source's `callback_url`, or in front of the stand-in that `dev` runs there.
    ///
    /// # Errors
    /// If another program uses the address.
    pub(super) async fn start_vendor(&self) -> anyhow::Result<MockVendor> {
        let VendorPlan { source, base, key, samples, behaviour } = &self.vendor;
        let samples = samples.iter().cloned();
        let started = MockVendor::start(base, key.clone(), samples.clone(), behaviour.clone());
        let error = match started.await {
            Err(error) if is_in_use(&error) => error,
            started => return started,
        };
        let in_front = MockVendor::start_before(base, key.clone(), samples, behaviour.clone());
        in_front.await.map_err(|_| error).with_context(|| {
            format!(
                "callback_url in [sources.{source}.hooks]; if another program than `dev` with these settings listens there, stop it or choose another port"
            )
        })
    }

    /// Delivers an event that a hook has posted.
    pub(super) async fn deliver(&self, event: Bytes) -> Result<StatusCode, String> {
        self.posted.as_ref().map_err(Clone::clone)?.deliver(event).await
    }

    /// The headers in the documented order and spelling, and the body as sent.
    pub(super) fn signed(
        &self,
        call: &PlannedCall,
        token: &SecretString,
    ) -> anyhow::Result<(Vec<NamedHeader>, Bytes)> {
        let request =
            HookRequest { hook: &call.hook, token: Some(token), user: self.user.as_ref() };
        request.signed(&call.url, &self.proof, &call.body)
    }

    /// The plan as `--dry-run --json` prints it, keys and tokens hidden.
    ///
    /// # Errors
    /// If a call cannot be signed.
    pub fn json(&self) -> anyhow::Result<Value> {
        let requests = self.calls.iter().map(|call| {
            let (headers, body) = self.signed(call, &"****".into())?;
            Ok(request_json(&call.url, &headers, &body))
        });
        let requests = requests.collect::<anyhow::Result<Vec<_>>>()?;
        Ok(json!({ "requests": requests, "callback_url": self.vendor.base.as_str() }))
    }
}

impl fmt::Display for HookPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for call in &self.calls {
            let (headers, body) = self.signed(call, &"****".into()).map_err(|_| fmt::Error)?;
            write_request(f, &call.url, &headers, &body)?;
        }
        writeln!(f, "callbacks would be answered at {}", self.vendor.base)
    }
}

impl VendorPlan {
    fn new(
        args: &EmitArgs,
        catalog: &Table,
        source: &str,
        hooks: &HooksConfig,
    ) -> anyhow::Result<Self> {
        let base = callback_url(source, hooks)?;
        let key = hooks.callback_key(source)?.with_context(|| {
            format!("[sources.{source}.hooks] has no key for the callback; write callback_key = \"…\" or callback_key_file")
        })?;
        let samples = catalog
            .hooks()
            .flat_map(|row| row.ids().map(|id| (id.into_owned(), row.example_response)));
        let behaviour = VendorBehaviour {
            logic: logic(&args.hooks.answer)?,
            delay: args.hooks.delay,
            token_life: args.hooks.token_life,
            ..VendorBehaviour::default()
        };
        Ok(VendorPlan {
            source: source.to_owned(),
            base,
            key,
            samples: samples.collect(),
            behaviour,
        })
    }
}

fn is_in_use(error: &anyhow::Error) -> bool {
    let io = error.chain().find_map(|cause| cause.downcast_ref::<io::Error>());
    io.is_some_and(|io| io.kind() == io::ErrorKind::AddrInUse)
}

/// The URL of the mock vendor. A token that was made here must never reach the real vendor.
fn callback_url(source: &str, hooks: &HooksConfig) -> anyhow::Result<Url> {
    const HOW: &str = "to run the mock vendor here, write callback_url = \"http://127.0.0.1:8090\" for the receiver that is called";
    let Some(url) = hooks.callback_url(source)? else {
        bail!("[sources.{source}.hooks] has no callback_url; {HOW}");
    };
    ensure!(
        url.scheme() == "http" && is_local(&url),
        "[sources.{source}.hooks] callback_url is not an http:// address of this machine; {HOW}"
    );
    Ok(url)
}

fn logic(answer: &str) -> anyhow::Result<Logic> {
    if let Ok(named) = answer.parse() {
        return Ok(named);
    }
    let body = std::fs::read(answer).with_context(|| format!("cannot read --answer {answer}"))?;
    Ok(Logic::Given(body.into()))
}

/// The source to send as: the named one, or the only one that has hooks.
fn source<'c>(
    args: &EmitArgs,
    config: &'c Config,
) -> anyhow::Result<(&'c str, &'c SourceConfig, &'c HooksConfig)> {
    let mut with_hooks = config.sources.iter().filter_map(|(name, source)| {
        source.hooks.as_ref().map(|hooks| (name.as_str(), source, hooks))
    });
    if let Some(wanted) = &args.source {
        return with_hooks.find(|(name, ..)| name == wanted).with_context(|| {
            format!("[sources.{wanted}] has no hooks; write [sources.{wanted}.hooks]")
        });
    }
    match (with_hooks.next(), with_hooks.next()) {
        (Some((one, ..)), Some((other, ..))) => {
            bail!("several sources have hooks; choose one with --source: {one}, {other}, …")
        }
        (Some(source), None) => Ok(source),
        (None, _) => bail!("no source has hooks; write [sources.NAME.hooks] in the settings"),
    }
}

/// A hook's id and, unless it is called raw, its row.
type ChosenHook<'r> = (String, Option<&'r HookRow>);

fn chosen<'r>(args: &EmitArgs, catalog: &'r Table) -> anyhow::Result<Vec<ChosenHook<'r>>> {
    if args.hooks.all_hooks {
        ensure!(catalog.hooks().next().is_some(), "the catalog has no hook");
        return Ok(catalog.hooks().map(|row| (row.id.to_owned(), Some(row))).collect());
    }
    let choose = |id: &String| match catalog.hook(id) {
        Some(row) => Ok((row.id.to_owned(), Some(row))),
        None if args.raw && is_segment(id) => Ok((id.clone(), None)),
        None if args.raw => bail!("a hook's id is letters, digits and - . _ ~, not {id:?}"),
        None => {
            let known: Vec<_> = catalog.hooks().map(|row| (row.id, row.aliases)).collect();
            bail!("there is no hook `{id}`; {} --raw calls any id", hint(id, &known))
        }
    };
    args.hooks.hook.iter().map(choose).collect()
}
