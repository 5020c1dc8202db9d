//! COMPAT.md claims no more and no less than the table of APIs, and names tests that exist.

use kafka_compat::api_table::APIS;

#[test]
fn the_page_lists_the_versions_of_the_table() {
    let page = include_str!("../COMPAT.md");
    let rows: Vec<(String, String)> = page
        .lines()
        .filter_map(|line| {
            let cells: Vec<&str> = line.split('|').map(str::trim).collect();
            let key: i16 = cells.get(1)?.parse().ok()?;
            Some((
                format!("{key} {}", cells.get(2)?),
                (*cells.get(3)?).to_owned(),
            ))
        })
        .collect();
    let table: Vec<(String, String)> = APIS
        .iter()
        .map(|api| {
            let name = format!("{} {:?}", api.key as i16, api.key);
            (name, format!("{}-{}", api.min, api.max))
        })
        .collect();
    assert_eq!(rows, table);
}

#[test]
fn the_tests_that_the_page_names_exist() {
    let page = include_str!("../COMPAT.md");
    let tests = concat!(env!("CARGO_MANIFEST_DIR"), "/tests");
    let named: Vec<&str> = page
        .split('`')
        .filter_map(|word| word.strip_prefix("tests/")?.strip_suffix(".rs"))
        .collect();
    assert!(named.len() > 5);
    for name in named {
        let path = std::path::Path::new(tests).join(format!("{name}.rs"));
        assert!(path.exists(), "{name}");
    }
}
