//! Settings: what wins, what is refused, how it is said, and what is never said.

use std::time::Duration;

use proptest::prelude::*;
use secrecy::ExposeSecret as _;
use server::login::Login;
use settings::{AuthKind, Config, ConfigError, LogFormat, Overrides, Warning, load, parse};
use signature::Fingerprint;

const KEY: &str = "k3y!@%$^";

/// A source called `one` that is complete.
const ONE: &str = "[sources.one]\ndialect = \"directscale\"\nbearer_tokens = [\"k3y!@%$^\"]\n";

fn with(text: &str, vars: &[(&str, &str)]) -> Result<Config, ConfigError> {
    let vars = vars.iter().map(|(key, value)| (format!("RECEIVER_{key}"), (*value).to_owned()));
    parse(text, vars, "receiver.toml")
}

fn from_env(vars: &[(&str, &str)]) -> Config {
    with("", vars).unwrap()
}

fn refusal(text: &str) -> String {
    with(text, &[]).unwrap_err().to_string()
}

/// Why the settings parse, but cannot be used.
fn unusable(text: &str) -> String {
    let config = with(text, &[]).unwrap();
    let reason = config.check().and_then(|()| config.sources().map(drop));
    reason.unwrap_err().to_string()
}

fn source(settings: &str) -> String {
    unusable(&format!("[sources.one]\ndialect = \"directscale\"\n{settings}"))
}

fn keys(config: &Config) -> usize {
    config.sources().unwrap()[0].auth.bearer.len()
}

#[test]
fn a_variable_wins_over_the_file_at_every_level() {
    let file = format!("listen = \"127.0.0.1:1\"\n{ONE}path = \"/file\"\n[limits]\nmax_body = 1\n");
    let vars = [
        ("LISTEN", "127.0.0.1:2"),
        ("LIMITS__MAX_BODY", "2"),
        ("DISPATCH__JITTER", "0.5"),
        ("DISPATCH__PAUSED", "true"),
        ("DISPATCH__SCHEDULE", r#"["1s", "2m"]"#),
        ("LOG__FORMAT", "json"),
        ("SOURCES__ONE__PATH", "/variable"),
    ];
    let config = with(&file, &vars).unwrap();
    assert_eq!(config.listen.port(), 2);
    assert_eq!(config.limits.max_body, 2);
    assert_eq!(config.dispatch.jitter, 0.5);
    assert!(config.dispatch.paused);
    assert_eq!(config.dispatch.schedule, [1, 120].map(Duration::from_secs));
    assert_eq!(config.log.format, LogFormat::Json);
    assert_eq!(config.sources["one"].path, "/variable");
    assert_eq!(keys(&config), 1, "what no variable names stays as in the file");
}

#[test]
fn a_source_may_come_from_variables_alone_in_any_order() {
    let vars = [("SOURCES__ONE__BEARER_TOKENS", KEY), ("SOURCES__ONE__DIALECT", "directscale")];
    for vars in [vars, [vars[1], vars[0]]] {
        assert_eq!(keys(&from_env(&vars)), 1);
    }
}

#[test]
fn a_variable_names_a_source_with_hyphens_by_underscores() {
    let file = ONE.replace("one", "one-stage");
    let config = with(&file, &[("SOURCES__ONE_STAGE__ENVIRONMENT", "stage")]).unwrap();
    assert_eq!(config.sources.len(), 1);
    assert_eq!(config.sources["one-stage"].environment.as_str(), "stage");
}

#[test]
fn a_list_of_one_needs_no_brackets() {
    let config = with(
        ONE,
        &[
            ("SOURCES__ONE__BEARER_TOKEN_FILES", "/run/secrets/key"),
            ("SOURCES__ONE__CLIENT_IDS", "acme"),
        ],
    );
    let source = &config.unwrap().sources["one"];
    assert_eq!(source.bearer_token_files, [std::path::Path::new("/run/secrets/key")]);
    assert_eq!(source.client_ids, ["acme"]);
}

#[test]
fn digits_and_words_are_text_where_text_is_wanted() {
    for key in ["12345678", "1e5", "true", "12 # 34", "99999999999999999999"] {
        let config = with(ONE, &[("SOURCES__ONE__BEARER_TOKENS", key), ("DOCS__USER", key)]);
        let config = config.unwrap_or_else(|error| panic!("{key}: {error}"));
        assert_eq!(keys(&config), 1, "{key}");
        assert_eq!(config.docs.user.as_deref(), Some(key));
    }
    assert_eq!(keys(&with(ONE, &[("SOURCES__ONE__BEARER_TOKENS", "['a', 'b']")]).unwrap()), 2);
}

#[test]
fn other_variables_are_nobodys_business() {
    let vars = ["RECEIVER_CONFIG", "RECEIVER_EMIT_TOKEN", "RECEIVER", "PATH"];
    let config = parse("", vars.map(|key| (key.to_owned(), "x".to_owned())), "receiver.toml");
    assert!(config.is_ok(), "{config:?}");
}

#[test]
fn a_variable_at_fault_is_named() {
    let error = |key, value| with(ONE, &[("LOG__FILTER", "warn"), (key, value)]).unwrap_err().0;
    let named = |key, value, expected: &str| {
        let error = error(key, value);
        assert!(error.starts_with(&format!("environment variable RECEIVER_{key}: ")), "{error}");
        assert!(error.contains(expected), "{error}");
    };
    named("LISTN", "127.0.0.1:1", "did you mean `listen`?");
    named("LIMITS__MAX_BDY", "1", "did you mean `max_body`?");
    named("SOURCES__ONE__BEARER_TOKEN", KEY, "did you mean `bearer_tokens`?");
    named("SOURCES__ONE__DIALECT", "directscal", "did you mean `directscale`?");
    named("LIMITS__MAX_BODY", "large", "expected usize");
    named("LIMITS__DRAIN", "30", "write for example \"30s\"");
    named("LISTEN", "localhost", "socket address");
    named("LIMITS", "1", "expected struct Limits");
    named("LISTEN__PORT", "1", "expected socket address");
}

#[test]
fn what_a_variable_leaves_open_is_told_with_both_ways_to_write_it() {
    let error = with("", &[("SOURCES__NEW__BEARER_TOKENS", KEY)]).unwrap_err().0;
    assert_eq!(
        error,
        "[sources.new]: missing field `dialect`; write for example dialect = \"directscale\", or set RECEIVER_SOURCES__NEW__DIALECT=directscale"
    );
}

#[test]
fn the_files_own_faults_keep_their_line_beside_variables() {
    let error = with("[limits]\nmax_bdy = 1\n", &[("LOG__FILTER", "warn")]).unwrap_err().0;
    assert!(error.starts_with("receiver.toml, line 2: unknown field `max_bdy`"), "{error}");
}

#[test]
fn flags_win_over_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("own.toml");
    std::fs::write(&file, "listen = \"127.0.0.1:1\"\ninbox = \"sqlite:file.db\"\n").unwrap();
    let mut flags = Overrides { config: Some(file), ..Overrides::default() };
    let config = load(&flags).unwrap();
    assert_eq!((config.listen.port(), config.inbox.expose_secret()), (1, "sqlite:file.db"));
    flags.listen = Some("127.0.0.1:2".parse().unwrap());
    flags.inbox = Some("sqlite:flag.db".into());
    let config = load(&flags).unwrap();
    assert_eq!((config.listen.port(), config.inbox.expose_secret()), (2, "sqlite:flag.db"));
}

#[test]
fn a_file_that_is_asked_for_must_be_there() {
    let flags = Overrides { config: Some("no/such.toml".into()), ..Overrides::default() };
    let error = load(&flags).unwrap_err().to_string();
    assert!(error.starts_with("cannot read the settings file no/such.toml"), "{error}");
}

#[test]
fn an_unknown_key_is_refused_with_its_line_and_the_nearest_name() {
    for (text, expected) in [
        ("lsten = 1", "line 1: unknown field `lsten`"),
        ("\n[limit]\n", "did you mean `limits`?"),
        ("[limits]\nmax_bdy = 1", "line 2: unknown field `max_bdy`"),
        ("[limits]\nmaxbody = 1", "did you mean `max_body`?"),
        (
            "[sources.a]\ndialect = \"directscale\"\nbearer_token = \"x\"",
            "did you mean `bearer_tokens`?",
        ),
        ("[sources.a]\ndialect = \"direct-scale\"", "did you mean `directscale`?"),
        ("[log]\nformat = \"jsn\"", "did you mean `json`?"),
        ("[sources.a]\npath = \"/a\"", "write for example dialect = \"directscale\""),
    ] {
        let error = refusal(text);
        assert!(error.starts_with("receiver.toml, line "), "{error}");
        assert!(error.contains(expected), "{text}: {error}");
    }
    assert!(!refusal("qqq = 1").contains("did you mean"));
}

#[test]
fn a_time_needs_a_unit() {
    for time in ["30", "\"30\"", "\"soon\"", "\"\"", "\"-1s\"", "[\"1s\"]"] {
        let error = refusal(&format!("[limits]\ndrain = {time}"));
        assert_eq!(
            error,
            "receiver.toml, line 2: not a time with its unit; write for example \"30s\", \"10m\" or \"7d\""
        );
    }
    let error = refusal("[dispatch]\nschedule = [\"1s\", \"2 parsecs\"]");
    assert!(error.contains("line 2: not a time"), "{error}");
    let config = with("[limits]\ndrain = \"1m 30s\"", &[]).unwrap();
    assert_eq!(config.limits.drain, Duration::from_secs(90));
}

#[test]
fn without_a_source_the_way_out_is_told() {
    let error = unusable("");
    for needed in ["receiver.toml", "[sources.directscale]", "webhook-receiver secret", "dev"] {
        assert!(error.contains(needed), "{error}");
    }
    let lines: Vec<&str> = error.lines().skip(2).take(3).collect();
    let printed = with(&lines.join("\n").replace('…', KEY), &[]).unwrap();
    assert!(printed.sources().is_ok(), "the lines to write can be written");
}

#[test]
fn a_source_that_proves_nothing_is_refused() {
    assert!(source("").contains("[sources.one] has no key; write bearer_tokens = "));
    for key in
        ["bearer_tokens = \"\"", "bearer_tokens = [\"good\", \" \"]", "bearer_tokens = \"…\""]
    {
        assert!(source(key).contains("[sources.one] has an empty key"), "{key}");
    }
    for key in ["\" k\"", "\"k \"", "\"a\\nb\"", "\"a\\u0007\""] {
        assert!(source(&format!("bearer_tokens = {key}")).contains("no header can carry"), "{key}");
    }
    let both = source("auth = \"none\"\nbearer_tokens = [\"k\"]");
    assert!(both.contains("has keys and auth = \"none\""), "{both}");
}

#[test]
fn a_retired_key_that_is_still_accepted_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("key");
    std::fs::write(&file, "k2\n").unwrap();
    let keys = "bearer_tokens = [\"k1\", \"k2\"]\n";
    let error = source(&format!("{keys}retired_keys = [\"k0\", \"k1\"]"));
    assert_eq!(
        error,
        "[sources.one] retired_keys, 2 of 2 has a key that is still accepted in bearer_tokens, 1 of 2; remove it from one of them"
    );
    let error = source(&format!("{keys}retired_key_files = {file:?}"));
    let place = format!("retired_key_files, {} has a key", file.display());
    assert!(error.contains(&place) && error.contains("bearer_tokens, 2 of 2;"), "{error}");
    let signed = "[sources.one]\ndialect = \"stripe\"\nsigning_keys = \"k1\"\nretired_keys = ";
    assert!(
        unusable(&format!("{signed}\"k1\""))
            .contains("retired_keys has a key that is still accepted")
    );
    assert!(with(&format!("{signed}\"k0\""), &[]).unwrap().sources().is_ok());
}

#[test]
fn every_source_at_fault_is_told_and_the_others_are_served() {
    let fine = ONE.replace("one", "fine");
    let text = format!(
        "{fine}{}path = \"/a\"\naccepted_status = 1\n{}\n{}[sources.keyless]\ndialect = \"stripe\"\npath = \"/b\"\n",
        ONE.replace("one", "status"),
        ONE.replace("one", "twin"),
        ONE.replace("one", "away") + "path = \"/c\"\n",
    );
    let config = with(&text, &[]).unwrap();
    let (sources, refused) = config.examine();
    let served: Vec<_> = sources.iter().map(|source| source.name.as_str()).collect();
    assert_eq!(served, ["away", "fine"]);
    let told: Vec<_> = refused.iter().map(|error| error.0.split(']').next().unwrap()).collect();
    assert_eq!(told, ["[sources.keyless", "[sources.status", "[sources.twin"]);
    assert_eq!(config.sources().unwrap_err(), refused[0]);
}

#[test]
fn the_place_of_every_key_is_known_and_names_no_key() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("new");
    std::fs::write(&file, "k3y-4\n").unwrap();
    let text = format!(
        "[sources.one]\ndialect = \"directscale\"\nbearer_tokens = [\"k3y-1\", \"k3y-2\"]\n\
         bearer_token_files = {file:?}\nretired_keys = \"k3y-3\"\n"
    );
    let keys = with(&text, &[]).unwrap().keys().unwrap();
    let places: Vec<_> = keys.iter().map(|key| (key.sort.as_str(), key.setting())).collect();
    assert_eq!(
        places,
        [
            ("bearer", "[sources.one] bearer_tokens, 1 of 2".into()),
            ("bearer", "[sources.one] bearer_tokens, 2 of 2".into()),
            ("bearer", format!("[sources.one] bearer_token_files, {}", file.display())),
            ("retired", "[sources.one] retired_keys".into()),
        ]
    );
    let prints: Vec<_> = keys.iter().map(|key| key.fingerprint.to_string()).collect();
    let alone = |key: &str| Fingerprint::of(&key.into()).to_string();
    assert_eq!(prints, ["k3y-1", "k3y-2", "k3y-4", "k3y-3"].map(alone));
    assert!(!format!("{keys:?}").contains("k3y"), "{keys:?}");
}

#[test]
fn auth_none_needs_loopback_or_a_secret_path_and_is_warned_of() {
    let open = |listen: &str, path: &str| {
        let text = format!(
            "listen = \"{listen}:0\"\n[sources.one]\ndialect = \"directscale\"\nauth = \"none\"\npath = \"{path}\"\n"
        );
        with(&text, &[]).unwrap()
    };
    for listen in ["0.0.0.0", "[::]", "192.168.1.1"] {
        for guessable in [
            "/api/webhooks",
            "/api/webhooks-for-our-live-directscale",
            "/api/abcdefghijklmnopqrstuvwxyz",
        ] {
            let error = open(listen, guessable).sources().unwrap_err().to_string();
            assert!(error.contains("needs a secret path; write path = "), "{error}");
        }
        let secret = open(listen, "/api/webhooks/0123456789abcdefghijkl");
        assert!(secret.sources().is_ok());
        assert_eq!(secret.warnings()[0].setting, "[sources.one] auth");
    }
    for listen in ["127.0.0.1", "[::1]", "127.8.8.8", "[::ffff:127.0.0.1]"] {
        assert!(open(listen, "/api/webhooks").sources().is_ok(), "{listen}");
    }
    let bearer = with(ONE, &[]).unwrap();
    assert_eq!(bearer.sources["one"].auth_kind(), AuthKind::Bearer);
    assert!(bearer.warnings().iter().all(|warning| warning.setting != "[sources.one] auth"));
}

#[test]
fn a_listener_beyond_this_machine_without_a_login_is_warned_of() {
    let config = with(&format!("listen = \"0.0.0.0:0\"\n{ONE}"), &[]).unwrap();
    let warned = |warning: &Warning| warning.setting == "[docs] password_hash";
    assert!(config.warnings().iter().any(warned));
}

#[test]
fn paths_that_could_meet_are_refused() {
    let two = |a: &str, b: &str| {
        let text = format!("{ONE}path = \"{a}\"\n{}path = \"{b}\"\n", ONE.replace("one", "two"));
        with(&text, &[]).unwrap().sources().map(drop).map_err(|error| error.to_string())
    };
    for (a, b) in [
        ("/api/webhooks", "/api/webhooks"),
        ("/api/webhooks", "/API/WebHooks/"),
        ("/api/webhooks", "/api/webhooks/stage"),
        ("/api/webhooks", "/api/v1/webhooks"),
        ("/api/v2/webhooks", "/api/webhooks"),
        ("/hooks", "/hooks/v1/x"),
        ("/hooks/x", "/hooks/x/v7"),
    ] {
        let error = two(a, b).unwrap_err();
        assert!(error.starts_with("[sources.two] and [sources.one] have overlapping"), "{error}");
    }
    for (a, b) in [
        ("/api/webhooks", "/stage/api/webhooks"),
        ("/api/webhooks", "/api/webhooks2"),
        ("/a", "/b"),
        ("/a", "/a/b/c"),
    ] {
        assert_eq!(two(a, b), Ok(()), "{a} {b}");
    }
}

#[test]
fn the_receivers_own_routes_are_not_a_sources() {
    for path in [
        "/swagger",
        "/Swagger/",
        "/swagger/x/y",
        "/openapi.json",
        "/healthz",
        "/readyz",
        "/metrics",
        "/api/hooks",
        "/api/hooks/x",
        "/api",
    ] {
        let error = source(&format!("bearer_tokens = \"k\"\npath = \"{path}\""));
        assert!(error.contains("which the receiver serves itself; write"), "{path}: {error}");
    }
    for path in ["/swaggers", "/api/hooks2", "/stage/api/hooks", "/x/metrics"] {
        let text = format!("{ONE}path = \"{path}\"\n");
        assert!(with(&text, &[]).unwrap().sources().is_ok(), "{path}");
    }
}

#[test]
fn a_path_is_plain() {
    for path in ["", "/", "api", "/a//b", "/a b", "/a?b", "/{event}", "/é", "/a%20b"] {
        let error = source(&format!("bearer_tokens = \"k\"\npath = \"{path}\""));
        assert!(error.contains("write for example path = \"/api/webhooks\""), "{path}: {error}");
    }
}

#[test]
fn a_setting_out_of_its_range_is_named() {
    for (setting, expected) in [
        ("[limits]\nmax_body = 0", "max_body in [limits] must be at least 1"),
        ("[limits]\nmax_head = 8191", "max_head in [limits] must be at least 8192"),
        ("[limits]\nmax_body = 9\nbuffered = 8", "buffered in [limits] must be at least 9"),
        ("[limits]\nconcurrency = 0", "concurrency in [limits] must be at least 1"),
        ("[limits]\nconnections = 0", "connections in [limits] must be at least 1"),
        ("[limits]\nconnections = 9000000000000000000", "connections in [limits] must be at most"),
        ("[limits]\nqueue = 0", "queue in [limits] must be at least 1"),
        ("[limits]\nhead_timeout = \"0s\"", "head_timeout in [limits] must be at least"),
        ("[limits]\nbody_timeout = \"0s\"", "body_timeout in [limits] must be at least"),
        ("[dispatch]\nconcurrency = 0", "concurrency in [dispatch] must be at least 1"),
        ("[dispatch]\ntimeout = \"0s\"", "timeout in [dispatch] must be at least"),
        ("[retention]\nhooks = \"0s\"", "hooks in [retention] must be at least"),
        ("[dispatch]\njitter = 1.1", "jitter in [dispatch] must be between 0 and 1"),
        ("[dispatch]\njitter = nan", "jitter in [dispatch] must be between 0 and 1"),
        ("[dedup]\nremembered = 9000000000000000000", "remembered in [dedup] must be at most"),
        ("[dedup]\nwindow = \"31d\"", "write done = \"31d\" or more"),
        ("[retention]\nunrouted = \"6d\"", "write unrouted = \"7d\" or more"),
    ] {
        let error = unusable(&format!("{ONE}{setting}"));
        assert!(error.contains(expected), "{setting}: {error}");
    }
    for status in [199, 300] {
        let error = source(&format!("bearer_tokens = \"k\"\naccepted_status = {status}"));
        assert!(error.contains("accepted_status must be between 200 and 299"), "{error}");
    }
}

#[test]
fn a_key_in_a_file_ends_before_the_line_break() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("key");
    let sources = |content: &[u8]| {
        std::fs::write(&file, content).unwrap();
        let text =
            format!("[sources.one]\ndialect = \"directscale\"\nbearer_token_files = [{file:?}]\n");
        with(&text, &[]).unwrap().sources()
    };
    for content in ["k3y", "k3y\n", "k3y\r\n"] {
        assert!(sources(content.as_bytes()).is_ok(), "{content:?}");
    }
    for content in ["", "\n", "k3y \n", "k3y\nanother\n"] {
        assert!(sources(content.as_bytes()).is_err(), "{content:?}");
    }
    let error = sources(b"k3y\xff").unwrap_err().to_string();
    assert!(error.contains("bearer_token_files") && error.contains("key"), "{error}");
    assert!(!error.contains("k3y"), "{error}");
    std::fs::remove_file(&file).unwrap();
    let text = format!("{ONE}bearer_token_files = {file:?}\n");
    let error = with(&text, &[]).unwrap().sources().unwrap_err().to_string();
    assert!(error.contains("cannot read") && error.contains("bearer_token_files"), "{error}");
}

/// What must never be seen again.
const SECRET: &str = "hush4a7d";

/// The same as a number.
const DIGITS: &str = "70319730421";

fn assert_silent(shown: impl std::fmt::Display + std::fmt::Debug, context: &str) {
    for shown in [format!("{shown}"), format!("{shown:?}"), format!("{shown:#?}")] {
        assert!(!shown.contains(SECRET) && !shown.contains(DIGITS), "{context}: {shown}");
    }
}

/// Every setting as its section and name.
fn settings() -> Vec<(&'static str, &'static str)> {
    let mut section = "";
    let mut settings = Vec::new();
    for line in include_str!("../../../../settings/receiver.example.toml").lines() {
        match line.trim_start_matches('#').split_once(" = ") {
            Some((name, _)) if !name.contains(' ') => settings.push((section, name)),
            _ if line.starts_with('[') => section = line.trim_matches(['[', ']']),
            _ => {}
        }
    }
    assert!(settings.contains(&("docs", "password_hash")), "{settings:?}");
    assert!(settings.contains(&("sources.directscale", "bearer_tokens")), "{settings:?}");
    settings
}

#[test]
fn a_secret_in_the_place_of_any_setting_is_not_repeated() {
    for (section, name) in settings() {
        for value in [
            format!("{SECRET:?}"),
            format!("'{SECRET}, expected `listen`'"),
            format!("[{SECRET:?}, 1]"),
            format!("{{ a = {SECRET:?} }}"),
            format!("{{ a = {DIGITS} }}"),
            DIGITS.to_owned(),
            format!("{DIGITS}.5"),
            format!("[{DIGITS}]"),
            SECRET.to_owned(),
            format!("\"{SECRET}"),
            format!("[\"{SECRET}"),
            format!("\"{SECRET}\" {SECRET}"),
            format!("\"{SECRET}\\q\""),
        ] {
            let context = format!("{section}.{name} = {value}");
            let head = if section.is_empty() { String::new() } else { format!("[{section}]\n") };
            if let Err(error) = with(&format!("{head}{name} = {value}\n"), &[]) {
                assert_silent(&error, &context);
            }
            let variable = match section {
                "" => name.to_uppercase(),
                _ => format!("{section}.{name}").replace('.', "__").to_uppercase(),
            };
            if let Err(error) = with(ONE, &[(&variable, &value)]) {
                assert_silent(&error, &context);
            }
        }
    }
}

#[test]
fn a_configured_secret_is_in_no_text_and_no_error() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("key");
    for (in_file, text) in [
        (SECRET, format!("bearer_tokens = {SECRET:?}")),
        (SECRET, format!("bearer_tokens = [{SECRET:?}, \"\"]")),
        (SECRET, format!("bearer_tokens = [{SECRET:?}]\nauth = \"none\"")),
        (SECRET, format!("bearer_tokens = [{SECRET:?}]\npath = \"/metrics\"")),
        (" hush4a7d", format!("bearer_tokens = [\" {SECRET}\", \"{SECRET}\\n\"]")),
        ("hush4a7d\u{7}", "accepted_status = 200".to_owned()),
    ] {
        std::fs::write(&file, in_file).unwrap();
        let text = format!(
            "[sources.one]\ndialect = \"directscale\"\nbearer_token_files = [{file:?}]\n{text}\n\
             [docs]\npassword_hash = {SECRET:?}\n"
        );
        let config = with(&text, &[]).unwrap();
        assert_silent(format!("{config:?} {:?}", config.warnings()), &text);
        match config.sources() {
            Ok(sources) => assert_silent(format!("{sources:?}"), &text),
            Err(error) => assert_silent(&error, &text),
        }
        assert_silent(Login::new(&config.docs).err().unwrap(), &text);
    }
}

proptest! {
    #[test]
    fn no_error_repeats_a_key_however_it_is_written(
        before in "[ -~\n]{0,6}",
        after in "[ -~\n]{0,6}",
        setting in prop::sample::select(vec![
            "bearer_tokens = ", "bearer_tokens = [\"", "bearer_tokens = [\"\"\"", "bearer_tokens = '",
            "password_hash = \"", "auth = \"", "dialect = \"", "path = ",
        ]),
        section in prop::sample::select(vec!["sources.one", "docs", "limits"]),
    ) {
        // A line of its own would make the secret a key's name, and names are repeated.
        let secret = format!("{before}{SECRET}{after}").replace(['=', '\n'], " ");
        let text = format!("[{section}]\n{setting}{secret}");
        if let Err(error) = with(&text, &[]) {
            assert_silent(&error, &text);
        }
        let name = setting.split(' ').next().unwrap().to_uppercase();
        let key = format!("{}__{name}", section.replace('.', "__").to_uppercase());
        if let Err(error) = with(ONE, &[(&key, &secret)]) {
            assert_silent(&error, &key);
        }
    }
}

#[test]
fn places_that_are_none_are_refused_with_a_line_to_write() {
    let generic = |places: &str| {
        let source = "[sources.acme]\ndialect = \"generic\"\nbearer_tokens = [\"k\"]\n";
        unusable(&format!("{source}[sources.acme.places]\n{places}"))
    };
    for (places, line) in [
        ("user = \"meta/id\"", "user = \"header:X-Acme-Id\" or user = \"/meta/id\""),
        ("user = \"cookie:id\"", "user = \"header:X-Acme-Id\" or user = \"/meta/id\""),
        ("message_id = [\"/id\", \"header:X Id\"]", "message_id = \"header:X-Acme-Id\""),
        ("client_id = \"header:Authorization\"", "client_id = \"header:X-Acme-Id\""),
        ("event_type = \"/a~b\"", "event_type = \"/meta/id\""),
    ] {
        let refused = generic(places);
        let key = places.split(' ').next().unwrap();
        assert!(refused.starts_with(&format!("[sources.acme.places] {key}: ")), "{refused}");
        assert!(refused.contains("; write for example ") && refused.contains(line), "{refused}");
    }
}

#[test]
fn settings_of_another_dialect_are_refused() {
    let origins = source("bearer_tokens = [\"k\"]\nallowed_origins = \"*\"");
    assert!(origins.ends_with("remove it, or write dialect = \"cloudevents\""), "{origins}");
}

#[test]
fn a_misspelt_place_is_named_with_the_nearest() {
    let text = "[sources.a]\ndialect = \"generic\"\n[sources.a.places]\nmesage_id = \"/id\"\n";
    let refused = refusal(text);
    assert!(refused.ends_with("did you mean `message_id`?"), "{refused}");
}

#[test]
fn hooks_that_could_not_work_or_not_be_told_apart_are_refused_with_the_line_to_write() {
    let refused = |more: &str| {
        let text = format!(
            "[sources.live]\ndialect = \"directscale\"\nbearer_tokens = [\"a key of the live source\"]\n\
             [sources.stage]\ndialect = \"directscale\"\npath = \"/stage\"\nbearer_tokens = [\"a key of the stage source\"]\n{more}"
        );
        let config = parse(&text, [], "test").unwrap();
        let sources = config.sources().unwrap();
        config.hook_sites(&sources).err().map(|error| error.to_string()).unwrap_or_default()
    };
    let good = "callback_url = \"https://acme.corpadmin.directscale.com\"\ncallback_key = \"k\"\n";
    assert_eq!(refused(&format!("[sources.live.hooks]\n{good}pages = \"/pages\"\n")), "");
    assert_eq!(refused("[sources.live.hooks]\nunhandled = \"refuse\"\n"), "");
    for (settings, said) in [
        ("", "write callback_url = \"https://….corpadmin.directscale.com\" and callback_key_file"),
        ("callback_url = \"https://x.test\"\n", "no key for it; write callback_key_file"),
        ("callback_key = \"k\"\n", "no callback_url; write callback_url"),
        ("callback_url = \"http://x.test\"\ncallback_key = \"k\"\n", "must be https"),
        ("callback_url = \"http://10.0.0.1\"\ncallback_key = \"k\"\n", "must be https"),
        ("callback_url = \"https://u:p4ss@x.test\"\ncallback_key = \"k\"\n", "a user, a password"),
        ("callback_url = \"x.test\"\ncallback_key = \"k\"\n", "is not a URL"),
        (&*format!("{good}deadline = \"0s\"\n"), "deadline = \"20s\""),
        (&*format!("{good}concurrency = 0\n"), "between 1 and"),
        (&*format!("{good}callback_key_file = \"k\"\n"), "remove one of them"),
        (&*format!("{good}path = \"/swagger\"\n"), "conflicts with /swagger"),
        (&*format!("{good}path = \"/api/webhooks\"\n"), "overlapping paths"),
        (&*format!("{good}path = \"/stage\"\n"), "overlapping paths"),
        (&*format!("{good}pages = \"/stage\"\n"), "overlapping paths"),
        (&*format!("{good}pages = \"/api/hooks\"\n"), "overlap"),
        (&*format!("{good}[sources.stage.hooks]\n{good}"), "overlapping paths"),
    ] {
        let refused = refused(&format!("[sources.live.hooks]\n{settings}"));
        assert!(refused.contains("[sources.") && refused.contains(said), "{settings}: {refused}");
        assert!(!refused.contains("p4ss"), "{refused}");
    }
}

#[test]
fn a_handshake_that_signs_for_anyone_is_refused_unless_no_delivery_can_be_meant() {
    let source = |more: &str| {
        format!(
            "[sources.a]\ndialect = \"generic\"\nsigning_keys = [\"a secret of sixteen\"]\n{more}\n\
             [[sources.a.handshakes]]\nmethod = \"GET\"\nwhen = {{ \"query:a\" = \"*\" }}\nanswer = \"{{query:a|hmac-sha256}}\"\n"
        )
    };
    let signed =
        |text: &str| format!("[sources.a.signature]\nheader = \"X-A\"\nsigned = \"{text}\"\n");
    let checked = |text: &str| parse(text, [], "test").unwrap().sources().map(drop);
    assert!(checked(&source(&signed("{body}"))).is_ok());
    for more in [signed("{path}.{body}"), format!("bodies = [\"form\"]\n{}", signed("{body}"))] {
        let refused = checked(&source(&more)).unwrap_err().to_string();
        assert!(refused.contains("anyone could have a delivery signed"), "{refused}");
    }
}

#[test]
fn settings_of_the_bus_alone_are_checked_with_their_subscriptions() {
    let folder = tempfile::tempdir().unwrap();
    let subscription = |scheme: &str| {
        format!(
            "[bus.subscriptions.a]\nevents = \"*\"\ntarget = \"https://x.test/\"\nscheme = \"{scheme}\"\nsigning_key = \"a secret of sixteen\"\n"
        )
    };
    let checked = |text: String| {
        std::fs::write(folder.path().join("receiver.toml"), text).unwrap();
        let output = crate::harness::process::run(folder.path(), &["check"]);
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    };
    let (code, told) = checked(subscription("github"));
    assert_eq!(code, Some(0), "{told}");
    assert!(told.contains("`bus` would start, and `serve` would not"), "{told}");
    let (code, told) = checked(subscription("pigeon"));
    assert_eq!(code, Some(1), "{told}");
    assert!(
        told.contains("refused: [bus.subscriptions.a] scheme: \"pigeon\" is not known"),
        "{told}"
    );
}
