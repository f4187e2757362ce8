//! Control connections on real servers: definitions, neighbours, and what happens without a server.

mod support;

use std::sync::Arc;
use std::time::{Duration, Instant};

use interlock::backend::catalog_loader::{Loaded, Loader};
use interlock::backend::catalog_store::{Catalog, CatalogOptions};
use interlock::backend::control::{Control, ControlError, ControlOptions, ControlTls, ControlTlsMode, Lane};
use interlock::backend::endpoint::Endpoint;
use interlock::backend::probe::{Neighbours, ProbeValue, Prober};
use interlock::backend::reach::Reach;
use interlock::catalog::{Family, Flavour, Index, ReferentialAction, Table, TableKind};
use support::{Interlock, Kind, Login, RawClient, Server, both};

const DEFINITIONS: &str = "
    CREATE DATABASE shop;
    CREATE TABLE shop.parent (id INT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
        name VARCHAR(20) CHARACTER SET latin1 DEFAULT 'it''s', code BINARY(4), flags BIT(3) DEFAULT b'101',
        price DECIMAL(10,3) DEFAULT 1.5, at DATETIME(3) DEFAULT CURRENT_TIMESTAMP(3), kind ENUM('a','b'),
        twice INT GENERATED ALWAYS AS (price * 2) VIRTUAL,
        UNIQUE KEY u_name (name), KEY prefixed (name(5), price DESC)) ENGINE=InnoDB;
    CREATE TABLE shop.child (id BIGINT PRIMARY KEY, pid INT UNSIGNED,
        CONSTRAINT fk_parent FOREIGN KEY (pid) REFERENCES shop.parent (id) ON DELETE CASCADE ON UPDATE SET NULL);
    CREATE TABLE shop.keyless (n INT, a INT NOT NULL, b INT NOT NULL, KEY k (b), UNIQUE KEY un (n),
        UNIQUE KEY ub (b), UNIQUE KEY ua (a));
    CREATE TABLE shop.heap (a INT);
    CREATE TABLE shop.`we``ird.na me` (`a``b` INT PRIMARY KEY, `Gr\u{f6}\u{df}e` INT, KEY `i``x` (`Gr\u{f6}\u{df}e`));
    CREATE TABLE shop.other (a INT) ENGINE=MyISAM;
    CREATE VIEW shop.view AS SELECT id FROM shop.parent;
    CREATE TRIGGER shop.t BEFORE INSERT ON shop.child FOR EACH ROW SET NEW.id = NEW.id;
    CREATE USER ctl@'%' IDENTIFIED BY 's:ecr@t'; GRANT SELECT, TRIGGER ON shop.* TO ctl@'%'";

fn run(server: &Server, sql: &str) {
    run_as(&mut RawClient::login(server.port, &Login::default()), sql);
}

fn run_as(client: &mut RawClient, sql: &str) {
    let answer = client.query(sql);
    assert!(answer.iter().all(|packet| packet.error().is_none()), "{sql}: {answer:?}");
}

fn options(server: &Server) -> ControlOptions {
    ControlOptions {
        url: format!("mysql://ctl:s%3Aecr%40t@127.0.0.1:{}", server.port),
        pool_size: 2,
        connect_timeout: Duration::from_secs(5),
        catalog_timeout: Duration::from_secs(5),
        probe_timeout: Duration::from_millis(500),
        tls: ControlTls::default(),
    }
}

/// Runs a check on both servers, with the definitions above and a runtime.
fn on_both<F: Future<Output = ()>>(check: impl Fn(Arc<Server>) -> F) {
    for kind in Kind::ALL {
        let Some(server) = Server::start(kind) else { continue };
        run(&server, DEFINITIONS);
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        runtime.expect("a runtime").block_on(check(Arc::new(server)));
    }
}

async fn load(loader: &Loader, name: &str) -> Table {
    match loader.load_one("shop", name).await {
        Ok(Loaded::Table(table)) => *table,
        other => panic!("{name}: {other:?}"),
    }
}

fn index<'a>(table: &'a Table, name: &str) -> &'a Index {
    table.indexes.iter().find(|index| index.name == name).expect("the index is there")
}

#[test]
fn definitions_are_loaded() {
    on_both(|server| async move {
        let control = Control::new(&options(&server)).unwrap();
        let facts = control.facts().await.unwrap();
        assert_eq!(facts.flavour == Flavour::MySql, server.is_mysql());
        assert!(facts.version.starts_with(&server.version), "{facts:?}");
        assert_eq!((facts.isolation.as_str(), facts.lock_wait_timeout), ("REPEATABLE-READ", 50));

        let loader = Loader::new(control);
        let parent = load(&loader, "parent").await;
        assert_eq!(parent.kind, TableKind::InnoDb);
        let column = |name: &str| &parent.columns[parent.column(name).unwrap()];
        assert!(
            column("id").auto_increment && !column("id").nullable && column("id").family == Family::Integer
        );
        assert_eq!(column("name").family, Family::Text("latin1_swedish_ci".to_owned()));
        assert_eq!(column("name").default.as_deref(), Some("it's"));
        assert_eq!(column("code").family, Family::Binary(Some(4)));
        assert_eq!(column("flags").default.as_deref(), Some("5"));
        assert_eq!(
            (&column("price").family, column("price").default.as_deref()),
            (&Family::Decimal(3), Some("1.500"))
        );
        assert_eq!((&column("at").family, column("at").default_is_expression), (&Family::DateTime(3), true));
        assert_eq!(column("kind").family, Family::Other);
        assert!(column("twice").generated);
        assert_eq!((parent.indexes[0].name.as_str(), parent.indexes[0].unique), ("PRIMARY", true));
        assert!(index(&parent, "u_name").unique);
        let parts = &index(&parent, "prefixed").parts;
        assert_eq!((parts[0].prefix, parts[1].descending), (Some(5), true));

        let child = load(&loader, "child").await;
        assert!(child.triggers.len() == 1 && parent.triggers.is_empty());
        assert_eq!(child.foreign_keys, parent.referenced_by);
        let key = &child.foreign_keys[0];
        assert_eq!((key.on_delete, key.on_update), (ReferentialAction::Cascade, ReferentialAction::SetNull));
        assert_eq!((&key.child_columns[0], &key.parent_columns[0]), (&"pid".to_owned(), &"id".to_owned()));

        // Of the unique indexes without NULL, the one that was defined first is the clustered one.
        assert_eq!(load(&loader, "keyless").await.indexes[0].name, "ub");
        assert_eq!(load(&loader, "heap").await.indexes[0].name, "GEN_CLUST_INDEX");
        let weird = load(&loader, "we`ird.na me").await;
        assert_eq!(index(&weird, "i`x").parts[0].column, weird.column("Gr\u{f6}\u{df}e"));
        assert_eq!(load(&loader, "other").await.kind, TableKind::OtherEngine);
        assert_eq!(load(&loader, "view").await.kind, TableKind::View);
        for (schema, name) in [("shop", "nothing"), ("nowhere", "t"), ("mysql", "user")] {
            assert_eq!(loader.load_one(schema, name).await.unwrap(), Loaded::Absent, "{schema}.{name}");
        }
    });
}

#[test]
fn the_catalog_follows_changes() {
    on_both(|server| async move {
        let control = Control::new(&options(&server)).unwrap();
        let source = Arc::new(Loader::new(control));
        let catalog = Catalog::new(Some(source), CatalogOptions::default(), |_, _| {});
        let get =
            async |name| catalog.fresh("shop", name, Duration::from_secs(60), Duration::from_secs(5)).await;
        let first = get("heap").await.unwrap();
        run(&server, "ALTER TABLE shop.heap ADD COLUMN b INT, ADD PRIMARY KEY (a)");
        catalog.invalidate("shop", "heap");
        let second = get("heap").await.unwrap();
        assert_eq!((second.id, second.generation), (first.id, first.generation + 1));
        assert_eq!(second.indexes[0].name, "PRIMARY");

        // A new child: the DDL names only itself.
        assert!(get("heap").await.unwrap().referenced_by.is_empty());
        run(&server, "CREATE TABLE shop.leaf (a INT, FOREIGN KEY (a) REFERENCES shop.heap (a))");
        catalog.invalidate("shop", "leaf");
        get("leaf").await.unwrap();
        assert_eq!(get("heap").await.unwrap().referenced_by.len(), 1);

        run(&server, "DROP TABLE shop.leaf");
        catalog.invalidate("shop", "leaf");
        assert!(get("leaf").await.is_none());
    });
}

#[test]
fn neighbours_are_found() {
    use ProbeValue::{Bytes, Decimal, Int, Null, Temporal, Text};
    on_both(|server| async move {
        run(
            &server,
            "CREATE TABLE shop.probe (id INT PRIMARY KEY, s VARCHAR(20), a INT NOT NULL, b INT, d DECIMAL(10,3),
                 at DATETIME(3), raw VARBINARY(4), KEY s (s), KEY ab (a, b), KEY adb (a, b DESC), KEY da (d, at),
                 KEY raw (raw)) DEFAULT CHARSET utf8mb4;
             INSERT INTO shop.probe VALUES (10, 'a', 1, 3, 1.5, '2020-01-01', x'00'),
                 (20, 'it''s', 1, 7, 1.5, '2020-01-01 00:00:01', x'00ff'), (30, 'z', 2, NULL, 2, NULL, NULL)",
        );
        let control = Control::new(&options(&server)).unwrap();
        let table = load(&Loader::new(control.clone()), "probe").await;
        let prober = Prober::new(Some(Arc::new(control)), Duration::from_secs(2), |_, _| {});
        let check = async |name: &str, key: &[ProbeValue], expected: [Option<Vec<ProbeValue>>; 3]| {
            let position = table.indexes.iter().position(|index| index.name == name).unwrap();
            let found = prober.neighbours(&table, u16::try_from(position).unwrap(), key).await;
            let [previous, exact, next] = expected;
            assert_eq!(found, Some(Neighbours { previous, exact, next }), "{name} {key:?}");
        };
        let text = |text: &str| Text(text.as_bytes().to_vec());
        check("PRIMARY", &[Int(15)], [Some(vec![Int(10)]), None, Some(vec![Int(20)])]).await;
        check("PRIMARY", &[Int(10)], [None, Some(vec![Int(10)]), Some(vec![Int(20)])]).await;
        check("PRIMARY", &[Int(99)], [Some(vec![Int(30)]), None, None]).await;
        check("s", &[text("' OR 1=1 \\")], [None, None, Some(vec![text("a")])]).await;
        check("s", &[text("IT'S")], [Some(vec![text("a")]), Some(vec![text("it's")]), Some(vec![text("z")])])
            .await;
        check("ab", &[Int(1), Int(5)], [Some(vec![Int(1), Int(3)]), None, Some(vec![Int(1), Int(7)])]).await;
        check("ab", &[Int(2), Int(0)], [Some(vec![Int(2), Null]), None, None]).await;
        check("adb", &[Int(1), Int(5)], [Some(vec![Int(1), Int(7)]), None, Some(vec![Int(1), Int(3)])]).await;
        let at = |text: &str| Temporal(format!("2020-01-01 00:00:{text}"));
        let price = || Decimal("1.500".to_owned());
        check(
            "da",
            &[Decimal("1.5".to_owned()), at("00.5")],
            [Some(vec![price(), at("00.000")]), None, Some(vec![price(), at("01.000")])],
        )
        .await;
        check(
            "raw",
            &[Bytes(vec![0, 1])],
            [Some(vec![Bytes(vec![0])]), None, Some(vec![Bytes(vec![0, 255])])],
        )
        .await;

        // Entries of open transactions border gaps as well.
        let mut writer = RawClient::login(server.port, &Login::default());
        writer.query("BEGIN");
        writer.query("INSERT INTO shop.probe (id, a) VALUES (16, 5)");
        check("PRIMARY", &[Int(15)], [Some(vec![Int(10)]), None, Some(vec![Int(16)])]).await;
    });
}

#[test]
fn a_question_ends_at_its_time_and_the_connection_goes_on() {
    on_both(|server| async move {
        let control = Control::new(&options(&server)).unwrap();
        control.facts().await.unwrap();
        let begin = Instant::now();
        let slow = "SELECT COUNT(*) FROM information_schema.COLUMNS a, information_schema.COLUMNS b, \
                    information_schema.COLUMNS c WHERE a.COLUMN_NAME < b.COLUMN_NAME";
        let answer = control.query(Lane::Probe, slow.to_owned()).await;
        assert!(matches!(answer, Err(ControlError::TimedOut)), "{answer:?}");
        assert!(begin.elapsed() < Duration::from_secs(3), "{:?}", begin.elapsed());
        // An error behind the first result must not be taken for the answer to the next question.
        let broken = control.query(Lane::Probe, "SELECT 1; SELECT * FROM shop.nothing".to_owned()).await;
        assert!(matches!(broken, Err(ControlError::Server(1146, _))), "{broken:?}");
        let answer = control.query(Lane::Probe, "SELECT 1; SELECT 2".to_owned()).await.unwrap();
        assert_eq!(answer, [[[Some(b"1".to_vec())]], [[Some(b"2".to_vec())]]]);
    });
}

#[test]
fn tls_follows_the_mode() {
    on_both(|server| async move {
        let cipher = async |mode| {
            let tls = ControlTls { mode, ..ControlTls::default() };
            let control = Control::new(&ControlOptions { tls, ..options(&server) })?;
            let show = "SHOW SESSION STATUS LIKE 'Ssl_version'".to_owned();
            let answer = control.query(Lane::Catalog, show).await?;
            Ok::<_, ControlError>(String::from_utf8(answer[0][0][1].clone().unwrap()).unwrap())
        };
        assert_eq!(cipher(ControlTlsMode::Disabled).await.unwrap(), "");
        if server.is_mysql() {
            // It makes a certificate of its own at initialisation.
            assert_eq!(cipher(ControlTlsMode::Preferred).await.unwrap(), "TLSv1.3");
            assert_eq!(cipher(ControlTlsMode::Required).await.unwrap(), "TLSv1.3");
            assert!(cipher(ControlTlsMode::VerifyIdentity).await.is_err());
        } else {
            assert_eq!(cipher(ControlTlsMode::Preferred).await.unwrap(), "");
            assert!(cipher(ControlTlsMode::Required).await.is_err());
        }
    });
}

#[test]
fn without_a_server_questions_fail_at_once_and_come_back_with_it() {
    on_both(|server| async move {
        let endpoint = Endpoint::Tcp { host: "127.0.0.1".to_owned(), port: server.port };
        let control = Control::new(&options(&server)).unwrap();
        let (asked, tried) = (
            Reach::new(Some(control.clone()), &endpoint, Duration::from_secs(2)),
            Reach::new(None, &endpoint, Duration::from_secs(2)),
        );
        assert!(asked.check().await.is_ok());
        assert!(tried.check().await.is_ok(), "{:?}", tried.check().await);
        // A connection that the server has closed is no fault of the question.
        let mut root = RawClient::login(server.port, &Login::default());
        let list = control.query(Lane::Catalog, "SELECT CONNECTION_ID()".to_owned()).await.unwrap();
        let id = String::from_utf8(list[0][0][0].clone().unwrap()).unwrap();
        root.query(&format!("KILL {id}"));
        tokio::time::sleep(Duration::from_millis(200)).await;
        assert!(asked.check().await.is_ok());

        server.kill();
        tokio::time::sleep(Duration::from_millis(200)).await;
        let begin = Instant::now();
        assert!(asked.check().await.is_err());
        assert!(tried.check().await.is_err());
        assert!(control.query(Lane::Probe, "DO 0".to_owned()).await.is_err());
        assert!(begin.elapsed() < Duration::from_secs(1), "{:?}", begin.elapsed());
    });
}

#[test]
fn less_privilege_is_less_knowledge_not_an_error() {
    both(|server| {
        run(server, DEFINITIONS);
        run(server, "REVOKE TRIGGER ON shop.* FROM ctl@'%'");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let child = load(&Loader::new(Control::new(&options(server)).unwrap()), "child").await;
            assert!(child.triggers.is_empty());
            assert_eq!(child.foreign_keys.len(), 1);
            assert_eq!(child.indexes.len(), 2);
        });
    });
}

#[test]
fn what_a_statement_calls_is_called_on_no_other_connection() {
    both(|server| {
        run(server, "CREATE DATABASE shop; CREATE TABLE shop.t (id INT PRIMARY KEY, n INT, KEY n (n))");
        run(server, "INSERT INTO shop.t VALUES (1, 1), (2, 2)");
        let interlock = Interlock::start(server, &["--action", "flag"]);
        let [mut a, mut b] = [(); 2].map(|()| RawClient::login(interlock.port, &Login::default()));
        run_as(&mut a, "BEGIN");
        run_as(&mut a, "SELECT * FROM shop.t WHERE n > 0 AND GET_LOCK('mine', 0) = 1 FOR UPDATE");
        run_as(&mut a, "SELECT RELEASE_ALL_LOCKS()");
        // Whoever meets those locks has their places looked up, which takes no lock by name again.
        run_as(&mut b, "SET innodb_lock_wait_timeout = 1");
        let met = b.query("UPDATE shop.t SET n = 5 WHERE id = 2");
        assert_eq!(met[0].error().map(|(code, _)| code), Some(1205));
        let mut root = RawClient::login(server.port, &Login::default());
        assert_eq!(root.rows("SELECT IS_FREE_LOCK('mine')"), [[Some("1".to_owned())]]);
        run_as(&mut a, "ROLLBACK");
    });
}

#[test]
fn a_plain_select_touches_neither_the_catalog_nor_a_lock() {
    both(|server| {
        run(server, "CREATE DATABASE shop; CREATE TABLE shop.t (id INT PRIMARY KEY, n INT)");
        let interlock = Interlock::start(server, &["--action", "flag"]);
        let mut client = RawClient::login(interlock.port, &Login::default());
        let loads = || interlock.metric("interlock_catalog_loads_total{result=\"loaded\"}").unwrap_or(0.0);
        run_as(&mut client, "BEGIN");
        run_as(&mut client, "SELECT * FROM shop.t WHERE id = 5");
        let (loaded, locks) = (loads(), interlock.metric("interlock_locks"));
        assert_eq!((loaded, locks), (0.0, Some(0.0)));
        run_as(&mut client, "SELECT * FROM shop.t WHERE id = 5 FOR UPDATE");
        assert!(loads() > 0.0 && interlock.metric("interlock_locks") > Some(0.0), "a locking one does");
        run_as(&mut client, "ROLLBACK");
    });
}
