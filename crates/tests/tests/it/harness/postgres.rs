//! A PostgreSQL server of the tests' own, in a folder that is gone with them.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::SocketAddr;
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock};

/// A server that runs until this process ends.
pub(crate) struct Server {
    folder: PathBuf,
    bin: PathBuf,
    user: Option<(u32, u32)>,
    migrated: OnceLock<()>,
    watcher: Mutex<Watcher>,
}

/// The shell that starts and stops the server. Its input is open as long as this process lives; at its end the server is
/// stopped and the folder removed.
struct Watcher {
    orders: ChildStdin,
    done: BufReader<ChildStdout>,
    /// Outlives this process.
    _shell: Child,
}

/// Starts a server, obeys orders, each a line: `start`, or the name of a signal that ends it; a line tells that one is done.
const WATCH: &str = r#"
start() {
    "$0" -D "$1/data" -k "$1" -c listen_addresses= -c max_connections=400 $2 >>"$1/log" 2>&1 & server=$!
}
start "$@"
while read -r order; do
    case $order in
        start) start "$@" ;;
        *) kill "-$order" $server; wait $server ;;
    esac
    echo
done
kill -INT $server; wait $server; rm -rf "$1""#;

/// The same with a small disk in mounts of the server's own, which end before the folder is removed.
const WATCH_WITH_DISK: &str = r#"
mkdir "$1/disk"
unshare -m sh -c '
    mount -t tmpfs -o "size=$DISK,uid=$USER_ID,gid=$GROUP_ID" none "$1/disk" &&
        setpriv --reuid=$USER_ID --regid=$GROUP_ID --clear-groups sh -c "$WATCH" "$0" "$@"
' "$0" "$@" 2>/dev/null
rm -rf "$1""#;

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
        Self::start_on(settings, None)
    }

    /// The same with the tablespace `small` on a disk of this size; none if mounting is not permitted.
    pub(crate) fn start_with_disk(settings: &str, size: &str) -> Option<Self> {
        let mut unshare = Command::new("unshare");
        let is_permitted = unshare.args(["-m", "true"]).stderr(Stdio::null()).status();
        if !is_permitted.is_ok_and(|status| status.success()) {
            return None;
        }
        let server = Self::start_on(settings, Some(size))?;
        let disk = server.folder.join("disk");
        server.run("postgres", &format!("CREATE TABLESPACE small LOCATION '{}'", disk.display()));
        Some(server)
    }

    fn start_on(settings: &str, disk: Option<&str>) -> Option<Self> {
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
        let mut watcher = match (disk, user) {
            (None, _) => of_user(Path::new("sh"), user),
            (Some(size), Some((uid, gid))) => {
                let mut shell = of_user(Path::new("sh"), None);
                shell.env("DISK", size).env("USER_ID", uid.to_string());
                shell.env("GROUP_ID", gid.to_string()).env("WATCH", WATCH);
                shell
            }
            (Some(_), None) => return None,
        };
        watcher.args(["-c", if disk.is_some() { WATCH_WITH_DISK } else { WATCH }]);
        watcher.args([&bin.join("postgres"), &folder]).arg(settings);
        let mut shell = watcher.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (orders, done) = (shell.stdin.take().unwrap(), shell.stdout.take().unwrap());
        let watcher = Watcher { orders, done: BufReader::new(done), _shell: shell };
        let watcher = Mutex::new(watcher);
        let server = Server { folder, bin, user, migrated: OnceLock::new(), watcher };
        server.wait_until_ready();
        server.run("postgres", "CREATE DATABASE migrated");
        Some(server)
    }

    /// The folder of its sockets and data.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// The user that it runs as, if not as this process's.
    pub(crate) fn user(&self) -> Option<(u32, u32)> {
        self.user
    }

    /// Ends the server by a signal: INT closes its connections, QUIT leaves everything as it is.
    pub(crate) fn stop(&self, signal: &str) {
        self.order(signal);
    }

    /// Starts it after a stop.
    pub(crate) fn start_again(&self) {
        self.order("start");
        self.wait_until_ready();
    }

    fn order(&self, order: &str) {
        let mut watcher = self.watcher.lock().unwrap();
        writeln!(watcher.orders, "{order}").unwrap();
        assert_ne!(watcher.done.read_line(&mut String::new()).unwrap(), 0, "the watcher lives");
    }

    /// Kills one of the server's processes, which begins anew then.
    pub(crate) fn kill_a_process(&self) {
        let one = "SELECT pid FROM pg_stat_activity WHERE application_name <> 'psql' ORDER BY random() LIMIT 1";
        let pid = self.run("postgres", one);
        let kill =
            of_user(Path::new("sh"), self.user).args(["-c", "kill -KILL $0", pid.trim()]).status();
        assert!(kill.unwrap().success());
        let is_gone = format!("SELECT count(*) FROM pg_stat_activity WHERE pid = {}", pid.trim());
        wait_until(|| self.try_run("postgres", &is_gone).is_ok_and(|count| count.trim() == "0"));
    }

    fn wait_until_ready(&self) {
        let mut ready = of_user(&self.bin.join("pg_isready"), None);
        ready.arg("-h").arg(&self.folder).args(["-t", "1"]).stdout(Stdio::null());
        let is_ready = wait_until(|| ready.status().unwrap().success());
        assert!(is_ready, "{}", std::fs::read_to_string(self.folder.join("log")).unwrap());
    }

    /// A database with the schema of an inbox.
    pub(crate) fn database(&'static self) -> Database {
        self.database_on("")
    }

    /// The same in a place, such as ` TABLESPACE small`.
    pub(crate) fn database_on(&'static self, place: &str) -> Database {
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
        self.run("postgres", &format!("CREATE DATABASE {name} TEMPLATE migrated{place}"));
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
    pub(crate) fn run(&self, database: &str, statement: &str) -> String {
        let output = self.try_run(database, statement);
        output.unwrap_or_else(|error| panic!("{statement}: {error}"))
    }

    /// Runs a statement, and returns what it prints, or the error.
    fn try_run(&self, database: &str, statement: &str) -> Result<String, String> {
        let mut psql = of_user(&self.bin.join("psql"), self.user);
        psql.args(["-U", "postgres", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-h"]);
        psql.arg(&self.folder).args(["-d", database, "-c", statement]);
        let output = psql.output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        if output.status.success() { Ok(text(output.stdout)) } else { Err(text(output.stderr)) }
    }
}

impl Database {
    /// The URL, with a password that must not be shown.
    pub(crate) fn url(&self) -> String {
        self.server.url(&self.name)
    }

    /// The same through a proxy.
    pub(crate) fn url_through(&self, proxy: SocketAddr) -> String {
        format!("postgres://postgres:hush-0123456789@{proxy}/{}", self.name)
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The socket of the server, for a proxy.
    pub(crate) fn socket(&self) -> PathBuf {
        self.server.folder.join(".s.PGSQL.5432")
    }

    pub(crate) fn server(&self) -> &'static Server {
        self.server
    }

    /// Runs a statement, and returns what it prints.
    pub(crate) fn run(&self, statement: &str) -> String {
        self.server.run(&self.name, statement)
    }

    /// Runs a statement, and returns what it prints, or the error.
    pub(crate) fn try_run(&self, statement: &str) -> Result<String, String> {
        self.server.try_run(&self.name, statement)
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

/// True as soon as something is so, for which the server has no signal; false if it is not for a minute.
fn wait_until(mut is_so: impl FnMut() -> bool) -> bool {
    (0..1200).any(|_| {
        let is_so = is_so();
        if !is_so {
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
        is_so
    })
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

pub(crate) fn of_user(program: &Path, user: Option<(u32, u32)>) -> Command {
    let mut command = Command::new(program);
    command.current_dir("/");
    if let Some((uid, gid)) = user {
        command.uid(uid).gid(gid);
    }
    command
}
