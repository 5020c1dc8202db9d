//! The reference pages of the docs are what the programs describe, and no link in the docs leads nowhere.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use compat_tests::{cluster::binary, tool};

fn project() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

#[test]
fn the_pages_are_what_the_programs_describe() {
    let folder = tempfile::tempdir().unwrap();
    for program in ["chronosdb", "chronosctl"] {
        let program = binary().unwrap().with_file_name(program);
        tool::run(Command::new(program).arg("docs").arg(folder.path())).unwrap();
    }
    let pages = std::fs::read_dir(folder.path()).unwrap();
    let pages: Vec<_> = pages.map(|page| page.unwrap().file_name()).collect();
    assert!(pages.len() >= 5, "{pages:?}");
    for page in pages {
        let made = std::fs::read_to_string(folder.path().join(&page)).unwrap();
        let kept = std::fs::read_to_string(project().join("docs/reference").join(&page));
        assert!(
            kept.is_ok_and(|kept| kept == made),
            "{}: run `make docs`",
            page.display()
        );
    }
}

#[test]
fn no_link_leads_nowhere() {
    let mut check = Command::new("python3");
    check
        .args(["-B", "scripts/check_links.py"])
        .current_dir(project());
    let said = tool::run(&mut check).unwrap();
    assert!(said.contains("links"), "{said}");
}
