//! Holds the directions of the dependencies between our crates, and the table of versions to what is used.

use std::{collections::BTreeMap, process::Command};

use serde_json::Value;

const CONNECTORS: [&str; 9] = [
    "ebap-alertmanager",
    "ebap-file",
    "ebap-format",
    "ebap-generator",
    "ebap-iceberg",
    "ebap-kafka",
    "ebap-prometheus",
    "ebap-redis",
    "ebap-schema-registry",
];

/// What a crate of ours may see of the others.
fn allowed(from: &str, to: &str) -> bool {
    match from {
        "ebap-catalog" | "ebap-values" => false,
        "ebap-connector" => to == "ebap-values",
        "ebap-functions" => to == "ebap-values",
        "ebap-sql" => ["ebap-catalog", "ebap-functions", "ebap-values"].contains(&to),
        "ebap-stream" => ["ebap-sql", "ebap-catalog", "ebap-connector", "ebap-values"].contains(&to),
        "ebap-server" => !["ebap-tests", "ebap-bench-macro", "ebap-bench-micro"].contains(&to),
        // The binary is known by its command line and its answers; the words and the clock are shared. Which functions
        // there are is asked of them, so that the comparison with PostgreSQL forgets none.
        "ebap-tests" => ["ebap-connector", "ebap-functions", "ebap-values"].contains(&to),
        // The planner for its tests alone: a query of a benchmark must not rot.
        "ebap-bench-macro" => ["ebap-connector", "ebap-tests", "ebap-sql"].contains(&to),
        // Small parts by themselves: connectors, and one view of the engine.
        "ebap-bench-micro" => ["ebap-connector", "ebap-stream"].contains(&to) || CONNECTORS.contains(&to),
        // What they read and write may be described in a registry.
        "ebap-format" | "ebap-kafka" => ["ebap-connector", "ebap-schema-registry"].contains(&to),
        connector if CONNECTORS.contains(&connector) => to == "ebap-connector",
        _ => false,
    }
}

/// The crates that each of our crates names, dependencies of its tests included.
fn edges() -> BTreeMap<String, Vec<String>> {
    let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.toml");
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--no-deps", "--format-version", "1", "--offline", "--manifest-path", manifest])
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("cargo metadata is JSON");
    let names = |value: &Value| value["name"].as_str().expect("a package has a name").to_owned();
    let packages = metadata["packages"].as_array().expect("packages");
    let ours: Vec<String> = packages.iter().map(names).collect();
    let dependencies = |package: &Value| {
        let all = package["dependencies"].as_array().expect("dependencies").iter().map(names);
        all.filter(|name| ours.contains(name)).collect()
    };
    packages.iter().map(|package| (names(package), dependencies(package))).collect()
}

/// Names below the heading, up to the next one.
fn names_below<'a>(manifest: &'a str, heading: &str) -> Vec<&'a str> {
    let lines = manifest.lines().skip_while(|line| *line != heading).skip(1);
    let lines = lines.take_while(|line| !line.starts_with('['));
    lines.filter(|line| !line.starts_with('#')).filter_map(|line| Some(line.split_once('=')?.0.trim())).collect()
}

#[test]
fn every_version_in_the_table_is_used() {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
    let read = |path: &str| std::fs::read_to_string(format!("{root}/{path}")).expect("a manifest");
    let workspace = read("Cargo.toml");
    let members = workspace.lines().filter_map(|line| line.strip_prefix("    \"")?.strip_suffix("\","));
    let manifests: Vec<String> = members.map(|member| read(&format!("{member}/Cargo.toml"))).collect();
    let uses = |name: &str| {
        let [dotted, table] = [format!("\n{name}.workspace = true"), format!("\n{name} = {{ workspace = true")];
        manifests.iter().any(|manifest| manifest.contains(&dotted) || manifest.contains(&table))
    };
    let table = names_below(&workspace, "[workspace.dependencies]");
    assert!(table.len() > 50 && manifests.len() > 10, "{} names, {} members", table.len(), manifests.len());
    let unused: Vec<&str> = table.into_iter().filter(|name| !uses(name)).collect();
    assert!(unused.is_empty(), "nobody uses these of [workspace.dependencies]: {unused:?}");
}

#[test]
fn no_crate_sees_more_than_it_may() {
    let edges = edges();
    let wrong: Vec<String> = edges
        .iter()
        .flat_map(|(from, tos)| tos.iter().map(move |to| (from, to)))
        .filter(|(from, to)| !allowed(from, to))
        .map(|(from, to)| format!("{from} -> {to}"))
        .collect();
    assert!(wrong.is_empty(), "edges that ARCHITECTURE.md does not allow: {wrong:?}");
    assert!(edges.contains_key("ebap-server") && edges.contains_key("ebap-stream"), "{edges:?}");
}

#[test]
fn only_the_server_and_the_benchmarks_name_connectors() {
    for (from, tos) in edges() {
        let named: Vec<&String> = tos.iter().filter(|to| CONNECTORS.contains(&to.as_str())).collect();
        assert!(
            ["ebap-server", "ebap-bench-micro"].contains(&from.as_str())
                || CONNECTORS.contains(&from.as_str())
                || named.is_empty(),
            "{from} names {named:?}"
        );
    }
}
