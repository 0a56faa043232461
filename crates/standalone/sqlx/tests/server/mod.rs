//! A PostgreSQL server of the tests' own, in a folder that is gone with them.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};

/// Runs the server until the end of its input, which is that of this process; then removes its folder.
const WATCH: &str = r#"
"$0/postgres" -D "$1/data" -k "$1" -c listen_addresses= -c fsync=off -c max_connections=400 >"$1/log" 2>&1 & server=$!
read -r end
kill -INT $server; wait $server; rm -rf "$1""#;

struct Server {
    folder: PathBuf,
    /// Its input is open as long as this value is there.
    _watcher: Child,
}

/// A pool of connections to an empty database; none if PostgreSQL is not installed, which it says.
pub(crate) async fn database() -> Option<PgPool> {
    static SERVER: OnceLock<Option<Server>> = OnceLock::new();
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let server = SERVER.get_or_init(Server::start);
    let Some(server) = server else {
        println!("NOT TRIED: PostgreSQL is not installed");
        return None;
    };
    let options = PgConnectOptions::new_without_pgpass().username("postgres");
    let options = options.host(server.folder.to_str().unwrap());
    let all = PgPool::connect_with(options.clone().database("postgres")).await.unwrap();
    let name = format!("effects_{}", NEXT.fetch_add(1, Ordering::Relaxed));
    let create = sqlx::AssertSqlSafe(format!("CREATE DATABASE {name}"));
    sqlx::raw_sql(create).execute(&all).await.unwrap();
    all.close().await;
    let pool = PgPoolOptions::new().max_connections(8);
    Some(pool.connect_with(options.database(&name)).await.unwrap())
}

impl Server {
    fn start() -> Option<Self> {
        let bin = bin()?;
        let folder = tempfile::tempdir().unwrap().keep();
        let user = user();
        if let Some((uid, gid)) = user {
            chown(&folder, Some(uid), Some(gid)).unwrap();
        }
        let mut initdb = of_user(&bin.join("initdb"), user);
        initdb.args(["-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8"]);
        initdb.args(["--no-sync", "-D"]).arg(folder.join("data")).stdout(Stdio::null());
        assert!(initdb.status().unwrap().success());
        let mut watcher = of_user(Path::new("sh"), user);
        watcher.args(["-c", WATCH]).args([&bin, &folder]).stdin(Stdio::piped());
        let server = Server { _watcher: watcher.spawn().unwrap(), folder };
        let mut ready = of_user(&bin.join("pg_isready"), None);
        ready.arg("-h").arg(&server.folder).args(["-t", "1"]).stdout(Stdio::null());
        let is_ready = (0..1200).any(|_| {
            let is_ready = ready.status().unwrap().success();
            if !is_ready {
                std::thread::sleep(std::time::Duration::from_millis(50));
            }
            is_ready
        });
        assert!(is_ready, "{}", fs::read_to_string(server.folder.join("log")).unwrap());
        Some(server)
    }
}

/// The folder of the newest version's programs.
fn bin() -> Option<PathBuf> {
    let version = |entry: std::io::Result<fs::DirEntry>| {
        let path = entry.ok()?.path();
        Some((path.file_name()?.to_str()?.parse::<u32>().ok()?, path.join("bin")))
    };
    let newest = fs::read_dir("/usr/lib/postgresql").ok()?.filter_map(version).max();
    newest.map(|(_, bin)| bin).filter(|bin| bin.join("initdb").exists())
}

/// The user to run the server as: it refuses to be root.
fn user() -> Option<(u32, u32)> {
    if fs::metadata("/proc/self").unwrap().uid() != 0 {
        return None;
    }
    let users = fs::read_to_string("/etc/passwd").unwrap();
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
