//! A PostgreSQL server of the tests' own, in a folder that is gone with them.

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A server that runs until this process ends.
pub(crate) struct Server {
    folder: PathBuf,
    bin: PathBuf,
    user: Option<(u32, u32)>,
    migrated: OnceLock<()>,
    /// Its standard input is open as long as this process lives; then it stops the server and removes the folder.
    _watcher: Child,
}

/// A database of the server, dropped with this value.
pub(crate) struct Database {
    server: &'static Server,
    name: String,
}

/// The server, if PostgreSQL is installed.
pub(crate) fn server() -> Option<&'static Server> {
    static SERVER: OnceLock<Option<Server>> = OnceLock::new();
    // The tests kill no machine, so that nothing has to be synced.
    let settings = "-c fsync=off -c full_page_writes=off -c shared_buffers=64MB";
    SERVER.get_or_init(|| Server::start(settings)).as_ref()
}

/// True if PostgreSQL is installed; otherwise says that the test was not tried.
pub(crate) fn is_installed() -> bool {
    let is_installed = server().is_some();
    if !is_installed {
        println!("NOT TRIED: PostgreSQL is not installed");
    }
    is_installed
}

impl Server {
    /// Starts a server with these settings; none if PostgreSQL is not installed.
    pub(crate) fn start(settings: &str) -> Option<Self> {
        let bin = bin()?;
        let folder = tempfile::tempdir().unwrap().keep();
        let user = user();
        if let Some((uid, gid)) = user {
            chown(&folder, Some(uid), Some(gid)).unwrap();
        }
        let data = folder.join("data");
        let mut initdb = of_user(&bin.join("initdb"), user);
        initdb.args([
            "-U",
            "postgres",
            "-A",
            "trust",
            "-E",
            "UTF8",
            "--locale=C.UTF-8",
            "--no-sync",
            "-D",
        ]);
        assert!(initdb.arg(&data).stdout(Stdio::null()).status().unwrap().success());
        let run = r#""$0" -D "$1/data" -k "$1" -c listen_addresses= -c max_connections=400 $2 >"$1/log" 2>&1 & server=$!
            read -r _; kill -INT $server; wait $server; rm -rf "$1""#;
        let watcher = of_user(Path::new("sh"), user)
            .args(["-c", run])
            .args([&bin.join("postgres"), &folder])
            .arg(settings)
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        let server = Server { folder, bin, user, migrated: OnceLock::new(), _watcher: watcher };
        let mut ready = of_user(&server.bin.join("pg_isready"), None);
        ready.arg("-h").arg(&server.folder).args(["-t", "1"]).stdout(Stdio::null());
        // The server has no signal for "ready" but an answer.
        let is_ready = (0..200).any(|_| {
            let is_ready = ready.status().unwrap().success();
            if !is_ready {
                std::thread::sleep(std::time::Duration::from_millis(50));
            }
            is_ready
        });
        assert!(is_ready, "{}", std::fs::read_to_string(server.folder.join("log")).unwrap());
        server.run("postgres", "CREATE DATABASE migrated");
        Some(server)
    }

    /// A database with the schema of an inbox.
    pub(crate) fn database(&'static self) -> Database {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        self.migrated.get_or_init(|| {
            let url = self.url("migrated");
            let migrate = async move {
                inbox::migrate(&inbox::InboxUrl::parse(&url.into()).unwrap(), false).await
            };
            let migrate = || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
                runtime.unwrap().block_on(migrate).unwrap();
            };
            std::thread::scope(|scope| scope.spawn(migrate).join().unwrap());
        });
        let name = format!("inbox_{}", NEXT.fetch_add(1, Ordering::Relaxed));
        self.run("postgres", &format!("CREATE DATABASE {name} TEMPLATE migrated"));
        Database { server: self, name }
    }

    /// An empty database.
    pub(crate) fn empty(&'static self, name: &str) -> Database {
        self.run("postgres", &format!("CREATE DATABASE {name}"));
        Database { server: self, name: name.to_owned() }
    }

    /// A program of PostgreSQL, for this server and a database.
    pub(crate) fn program(&self, name: &str, database: &str) -> Command {
        let mut program = of_user(&self.bin.join(name), self.user);
        program.args(["-U", "postgres", "-h"]).arg(&self.folder).arg(database);
        program
    }

    fn url(&self, database: &str) -> String {
        let folder = self.folder.display().to_string().replace('/', "%2F");
        format!("postgres://postgres:hush-0123456789@{folder}/{database}")
    }

    /// Runs a statement, and returns what it prints.
    fn run(&self, database: &str, statement: &str) -> String {
        let mut psql = of_user(&self.bin.join("psql"), self.user);
        psql.args(["-U", "postgres", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-h"]);
        psql.arg(&self.folder).args(["-d", database, "-c", statement]);
        let output = psql.output().unwrap();
        assert!(
            output.status.success(),
            "{statement}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stdout).unwrap()
    }
}

impl Database {
    /// The URL, with a password that must not be shown.
    pub(crate) fn url(&self) -> String {
        self.server.url(&self.name)
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Runs a statement, and returns what it prints.
    pub(crate) fn run(&self, statement: &str) -> String {
        self.server.run(&self.name, statement)
    }
}

/// A session that holds what it has locked and seen until this value is dropped.
pub(crate) struct Session(Child);

impl Drop for Session {
    fn drop(&mut self) {
        // The end of its input ends the session.
        drop(self.0.stdin.take());
        self.0.wait().unwrap();
    }
}

impl Database {
    /// Locks every table against everyone else.
    pub(crate) fn lock_tables(&self) -> Session {
        self.session("ACCESS EXCLUSIVE", "READ COMMITTED")
    }

    /// Holds a snapshot of every table, as a dump does.
    pub(crate) fn hold_snapshot(&self) -> Session {
        self.session("ACCESS SHARE", "REPEATABLE READ")
    }

    fn session(&self, mode: &str, isolation: &str) -> Session {
        let mut psql = self.server.program("psql", &self.name);
        psql.args(["-X", "-q", "-A", "-t"]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut psql = psql.spawn().unwrap();
        let lock = format!(
            "BEGIN ISOLATION LEVEL {isolation};
             SELECT format('LOCK TABLE webhook_inbox.%I IN {mode} MODE', tablename)
                FROM pg_tables WHERE schemaname = 'webhook_inbox' \\gexec\n\\echo locked\n"
        );
        psql.stdin.as_mut().unwrap().write_all(lock.as_bytes()).unwrap();
        let mut line = String::new();
        BufReader::new(psql.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line.trim(), "locked");
        Session(psql)
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        self.server.run("postgres", &format!("DROP DATABASE {} WITH (FORCE)", self.name));
    }
}

/// The folder of the newest version's programs.
fn bin() -> Option<PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").ok()?;
    let version = |entry: std::io::Result<std::fs::DirEntry>| {
        let path = entry.ok()?.path();
        Some((path.file_name()?.to_str()?.parse::<u32>().ok()?, path.join("bin")))
    };
    versions.filter_map(version).max().map(|(_, bin)| bin).filter(|bin| bin.join("initdb").exists())
}

/// The user to run the server as: it refuses to be root.
fn user() -> Option<(u32, u32)> {
    if !rustix::process::geteuid().is_root() {
        return None;
    }
    let users = std::fs::read_to_string("/etc/passwd").unwrap();
    let line = users.lines().find(|line| line.starts_with("postgres:")).expect("there is a user");
    let mut ids = line.split(':').skip(2).map(|id| id.parse().unwrap());
    Some((ids.next()?, ids.next()?))
}

fn of_user(program: &Path, user: Option<(u32, u32)>) -> Command {
    let mut command = Command::new(program);
    command.current_dir("/");
    if let Some((uid, gid)) = user {
        command.uid(uid).gid(gid);
    }
    command
}
