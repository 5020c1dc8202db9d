//! The client guide (`docs/clients`): the program of each page is taken from it and run, and prints what the page says.
#![expect(clippy::print_stdout, reason = "a test says what it skips")]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use compat_tests::{
    client,
    cluster::{Broker, binary},
    tool,
};

fn docs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/clients")
}

/// The blocks of a page in one language, one after another.
fn blocks(page: &str, language: &str) -> String {
    let text = fs::read_to_string(docs().join(page)).unwrap();
    let opens = format!("```{language}");
    let mut program = String::new();
    let mut inside = false;
    for line in text.lines() {
        match line {
            "```" => inside = false,
            line if line == opens => inside = true,
            line if inside => {
                program.push_str(line);
                program.push('\n');
            }
            _ => {}
        }
    }
    assert!(!program.is_empty(), "{page} has no {language}");
    program
}

/// Where a client's libraries are; `None`, with a word, where a desk does not have them.
fn libraries(found: anyhow::Result<PathBuf>) -> Option<PathBuf> {
    match found {
        Ok(path) => Some(path),
        Err(why) => {
            assert!(std::env::var_os("CI").is_none(), "{why}");
            println!("skipped: {why}");
            None
        }
    }
}

/// Runs a program with the node's address and a topic; it has to print what the guide says.
async fn prints_what_the_guide_says(make: impl FnOnce(&Path) -> Command) {
    let broker = Broker::start(&[]).unwrap();
    client::create_topic(&broker.kafka, "guide", &[])
        .await
        .unwrap();
    let mut command = make(broker.scratch());
    let path = binary().unwrap();
    let path = format!(
        "{}:{}",
        path.parent().unwrap().display(),
        std::env::var("PATH").unwrap_or_default()
    );
    command
        .args([&broker.kafka, "guide"])
        .env("PATH", path)
        .env("CHRONOS_ADMIN", &broker.grpc)
        .env("CHRONOS_BOOTSTRAP", &broker.kafka);
    let said = tool::run(&mut command).unwrap();
    assert_eq!(said, blocks("README.md", "text"), "{}", broker.log());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn python() {
    let Some(python) = libraries(tool::python()) else {
        return;
    };
    prints_what_the_guide_says(|folder| {
        let program = folder.join("guide.py");
        fs::write(&program, blocks("python.md", "python")).unwrap();
        let mut command = Command::new(python);
        command.arg(program);
        command
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn node() {
    let Some(modules) = libraries(tool::clients("node/node_modules")) else {
        return;
    };
    prints_what_the_guide_says(|folder| {
        let program = folder.join("guide.js");
        fs::write(&program, blocks("node.md", "js")).unwrap();
        let mut command = Command::new("node");
        command
            .arg(program)
            .env("NODE_PATH", modules)
            .env("KAFKAJS_NO_PARTITIONER_WARNING", "1");
        command
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn java() {
    let Some(jars) = libraries(tool::clients("java/deps")) else {
        return;
    };
    prints_what_the_guide_says(|folder| {
        let program = folder.join("Guide.java");
        fs::write(&program, blocks("java.md", "java")).unwrap();
        let mut command = Command::new("java");
        // A source file is compiled and run.
        command
            .arg("-cp")
            .arg(format!("{}/*", jars.display()))
            .arg(program);
        command
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn go() {
    if libraries(tool::clients("go/suite")).is_none() {
        return;
    }
    prints_what_the_guide_says(|folder| {
        // In a module with the suite's versions, which are there already.
        let suite = Path::new(env!("CARGO_MANIFEST_DIR")).join("suites/go");
        for file in ["go.mod", "go.sum"] {
            fs::copy(suite.join(file), folder.join(file)).unwrap();
        }
        fs::write(folder.join("main.go"), blocks("go.md", "go")).unwrap();
        let program = folder.join("guide");
        let mut build = Command::new("go");
        let path = std::env::var("PATH").unwrap_or_default();
        build
            .args(["build", "-mod=mod", "-o"])
            .arg(&program)
            .arg(".")
            .current_dir(folder)
            .env("PATH", format!("{path}:/usr/local/go/bin"));
        tool::run(&mut build).unwrap();
        Command::new(program)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kcat() {
    if !tool::is_there("kcat") {
        assert!(std::env::var_os("CI").is_none(), "there is no kcat");
        println!("skipped: there is no kcat");
        return;
    }
    prints_what_the_guide_says(|folder| {
        let program = folder.join("guide.sh");
        fs::write(&program, blocks("kcat.md", "sh")).unwrap();
        let mut command = Command::new("bash");
        command.arg("-eu").arg(program);
        command
    })
    .await;
}

/// The page's program is the example that cargo builds.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rust() {
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/client_guide.rs");
    let example = fs::read_to_string(example).unwrap();
    let (_, program) = example.split_once("\n\n").unwrap();
    let words = |text: &str| text.split_whitespace().collect::<String>();
    // The formatter may break lines otherwise.
    let same = |text: &str| words(text).replace(",)", ")");
    assert_eq!(same(program), same(&blocks("rust.md", "rust")));
    prints_what_the_guide_says(|_| {
        let me = std::env::current_exe().unwrap();
        let built = me.ancestors().nth(2).unwrap().join("examples/client_guide");
        Command::new(built)
    })
    .await;
}

/// With librdkafka and zstd as the Rust client's crates build them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn c() {
    let me = std::env::current_exe().unwrap();
    let build = me.ancestors().nth(2).unwrap().join("build");
    let made = |file: &str| {
        let folders = fs::read_dir(&build).unwrap().flatten();
        let mut files = folders.map(|entry| entry.path().join("out").join(file));
        files
            .find(|path| path.exists())
            .unwrap_or_else(|| unreachable!("{file} was not built"))
    };
    let (header, library) = (made("src/rdkafka.h"), made("src/librdkafka.a"));
    let zstd = made("libzstd.a");
    prints_what_the_guide_says(|folder| {
        let include = folder.join("librdkafka");
        fs::create_dir_all(&include).unwrap();
        fs::copy(header, include.join("rdkafka.h")).unwrap();
        let program = folder.join("guide");
        fs::write(folder.join("guide.c"), blocks("c.md", "c")).unwrap();
        let mut compile = Command::new("cc");
        compile
            .args(["-Wall", "-Wextra", "-Werror", "-isystem"])
            .arg(folder)
            .arg(folder.join("guide.c"))
            .args([library, zstd])
            .arg("-o")
            .arg(&program)
            .args(["-lpthread", "-lm", "-ldl", "-lz"]);
        tool::run(&mut compile).unwrap();
        Command::new(program)
    })
    .await;
}
