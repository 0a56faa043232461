//! What an outage would cost, as the command line says it.

use serde_json::Value;

use crate::harness::process::{complaint, printed, run};

fn rehearse(args: &[&str]) -> std::process::Output {
    let folder = tempfile::tempdir().unwrap();
    run(folder.path(), &[&["bus", "rehearse", "--down", "5h"], args].concat())
}

#[test]
fn every_persona_has_a_column_and_a_row_of_json() {
    let table = printed(rehearse(&[]));
    let rows: Vec<Value> = serde_json::from_str(&printed(rehearse(&["--json"]))).unwrap();
    assert_eq!(rows.len(), 6);
    for row in &rows {
        assert!(table.contains(row["persona"].as_str().unwrap()), "{table}");
        let sum = ["late", "given_up", "lost", "kept"].map(|key| row[key].as_u64().unwrap());
        assert_eq!(row["events"], sum.iter().sum::<u64>());
    }
    assert!(table.contains("dropped after 3h"), "{table}");
}

#[test]
fn the_same_seed_gives_the_same_figures_and_another_other_ones() {
    let with = |seed| printed(rehearse(&["--persona", "svix", "--json", "--seed", seed]));
    assert_eq!(with("7"), with("7"));
    assert_ne!(with("7"), with("8"));
}

#[test]
fn what_is_no_outage_is_refused_with_exit_code_2() {
    for args in [
        &["--answer", "200"][..],
        &["--rate", "0"],
        &["--rate", "1e9"],
        &["--persona", "nobody"],
        &["--answer", "99"],
    ] {
        let output = rehearse(args);
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        assert!(!complaint(output).is_empty());
    }
}
