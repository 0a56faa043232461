//! A transaction pooler before the tests' server, for as long as this process lives.

use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::OnceLock;

use crate::harness::postgres::{self, Database, of_user};

/// The port that names its socket.
const PORT: u16 = 6432;

/// A running pgbouncer; its folder is gone with the server's.
pub(crate) struct Pooler {
    folder: std::path::PathBuf,
    /// Ends with its standard input.
    _shell: Child,
}

/// The pooler, if pgbouncer and PostgreSQL are installed.
pub(crate) fn pooler() -> Option<&'static Pooler> {
    static POOLER: OnceLock<Option<Pooler>> = OnceLock::new();
    POOLER.get_or_init(start).as_ref()
}

/// True if there is a pooler; otherwise says that the test was not tried.
pub(crate) fn is_installed() -> bool {
    let is_installed = pooler().is_some();
    if !is_installed {
        println!("NOT TRIED: pgbouncer is not installed");
    }
    is_installed
}

fn start() -> Option<Pooler> {
    let server = postgres::server()?;
    let program = ["/usr/sbin/pgbouncer", "/usr/bin/pgbouncer"].map(Path::new);
    let program = program.into_iter().find(|program| program.exists())?;
    let folder = server.folder().join("pooler");
    std::fs::create_dir(&folder).unwrap();
    if let Some((uid, gid)) = server.user() {
        std::os::unix::fs::chown(&folder, Some(uid), Some(gid)).unwrap();
    }
    let settings = format!(
        "[databases]\n* = host={} user=postgres\n[pgbouncer]\npool_mode = transaction\nauth_type = any\nlisten_port = {PORT}\n\
         unix_socket_dir = {}\nmax_client_conn = 400\ndefault_pool_size = 4\nlogfile = {}\n",
        server.folder().display(),
        folder.display(),
        folder.join("log").display()
    );
    let file = folder.join("pgbouncer.ini");
    std::fs::write(&file, settings).unwrap();
    let mut shell = of_user(Path::new("sh"), server.user());
    let run = r#""$0" -q "$1" & pooler=$!; read -r _; kill -INT $pooler; wait $pooler"#;
    shell.args(["-c", run]).args([program, file.as_path()]);
    let shell = shell.stdin(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let socket = folder.join(format!(".s.PGSQL.{PORT}"));
    // It has no signal for "ready" but its socket.
    let is_ready = (0..200).any(|_| {
        std::thread::sleep(std::time::Duration::from_millis(20));
        std::os::unix::net::UnixStream::connect(&socket).is_ok()
    });
    assert!(is_ready, "{}", std::fs::read_to_string(folder.join("log")).unwrap_or_default());
    Some(Pooler { folder, _shell: shell })
}

impl Pooler {
    /// The URL of a database through the pooler.
    pub(crate) fn url(&self, database: &Database) -> String {
        let folder = self.folder.display().to_string().replace('/', "%2F");
        format!("postgres://postgres:hush-0123456789@{folder}:{PORT}/{}", database.name())
    }
}
