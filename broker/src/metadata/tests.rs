//! Goal: what was agreed is there after any end, and what is damaged is refused. Method: openraft's own storage suite; rounds of
//! opening again across snapshots; every file of `kv/` and `raft/` flipped, cut and removed.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
};

use openraft::{
    StorageError,
    testing::log::{StoreBuilder, Suite},
};
use storage::{kv::Kv, units::TopicId};
use tempfile::TempDir;

use super::{
    hard_state::HardStateFile, log_store::LogStore, raft_types::Types, state_machine::StateMachine,
    *,
};

struct Builder;

impl StoreBuilder<Types, LogStore, StateMachine, TempDir> for Builder {
    async fn build(&self) -> Result<(TempDir, LogStore, StateMachine), StorageError<Types>> {
        let dir = tempfile::tempdir().unwrap();
        let kv = Arc::new(Kv::open(&dir.path().join("kv")).unwrap());
        let witness = HardStateFile::open(&dir.path().join("raft")).unwrap();
        let (log, is_new) = LogStore::open(Arc::clone(&kv), witness).unwrap();
        assert!(is_new);
        Ok((dir, log, StateMachine::open(kv).unwrap()))
    }
}

#[tokio::test]
async fn log_and_state_machine_keep_openrafts_contract() {
    Suite::test_all(Builder).await.unwrap();
}

fn options() -> MetadataOptions {
    MetadataOptions {
        node_id: 1,
        host: "127.0.0.1".into(),
        port: 9092,
        rack: None,
    }
}

fn create(name: &str, id: u128) -> Command {
    Command::CreateTopic {
        name: name.into(),
        topic_id: TopicId::from_u128(id),
        assignments: vec![vec![1]],
        configs: BTreeMap::new(),
    }
}

#[tokio::test]
async fn what_was_agreed_is_there_after_opening_again_also_across_snapshots() {
    let dir = tempfile::tempdir().unwrap();
    let mut cluster_id = String::new();
    for round in 0..4u32 {
        let metadata = Metadata::open(dir.path(), options()).await.unwrap();
        let image = metadata.image();
        assert_eq!(image.topics.len(), usize::try_from(round).unwrap());
        assert!(round == 0 || image.cluster_id == cluster_id);
        cluster_id.clone_from(&image.cluster_id);
        assert_eq!(cluster_id.len(), 22);
        let create = create(&format!("t{round}"), round.into());
        assert_eq!(metadata.propose(create).await.unwrap(), Outcome::Done);
        for _ in 0..300 {
            let give = Command::AllocateProducerIds { count: 1 };
            metadata.propose(give).await.unwrap();
        }
        let given = i64::from(round + 1) * 300;
        assert_eq!(metadata.image().next_producer_id, given);
        metadata.stop().await;
    }
}

/// Opens, and says what topics there are; the error is what a person reads.
async fn topics(dir: &Path) -> Result<Vec<String>, String> {
    let metadata = Metadata::open(dir, options())
        .await
        .map_err(|e| e.to_string())?;
    let names = metadata.image().topics.keys().cloned().collect();
    metadata.stop().await;
    Ok(names)
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for folder in ["kv", "raft"] {
        for entry in std::fs::read_dir(dir.join(folder)).unwrap() {
            found.push(Path::new(folder).join(entry.unwrap().file_name()));
        }
    }
    found.push("kv.initialised".into());
    found.sort();
    found
}

fn copy(from: &Path) -> TempDir {
    let to = tempfile::tempdir().unwrap();
    for folder in ["kv", "raft", "partitions/t-0"] {
        std::fs::create_dir_all(to.path().join(folder)).unwrap();
    }
    for file in files(from) {
        std::fs::copy(from.join(&file), to.path().join(&file)).unwrap();
    }
    to
}

/// Files without which nothing is lost: RocksDB makes them anew, or only writes them.
fn is_incidental(file: &Path) -> bool {
    let name = file.file_name().unwrap().to_string_lossy();
    name.starts_with("LOG") || name.starts_with("OPTIONS") || name == "LOCK" || name == "IDENTITY"
}

#[tokio::test]
async fn each_file_flipped_cut_or_missing_is_refused_or_costs_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let metadata = Metadata::open(dir.path(), options()).await.unwrap();
    for i in 0..20u8 {
        metadata
            .propose(create(&format!("t{i:02}"), i.into()))
            .await
            .unwrap();
    }
    metadata.stop().await;
    drop(metadata);
    let all = topics(dir.path()).await.unwrap();
    assert_eq!(all.len(), 20);

    let (mut refused, mut unharmed) = (0, 0);
    for file in files(dir.path()) {
        let bytes = std::fs::read(dir.path().join(&file)).unwrap();
        let step = (bytes.len() / 24).max(1);
        let flips = (0..bytes.len()).step_by(step).map(|at| {
            let mut flipped = bytes.clone();
            flipped[at] ^= 1 << (at % 8);
            (format!("flipped at {at}"), Some(flipped))
        });
        let cuts = [0, bytes.len() / 2, bytes.len().saturating_sub(1)]
            .map(|len| (format!("cut to {len}"), Some(bytes[..len].to_vec())));
        for (what, damaged) in flips.chain(cuts).chain([("removed".into(), None)]) {
            let copy = copy(dir.path());
            match damaged {
                Some(bytes) => std::fs::write(copy.path().join(&file), bytes).unwrap(),
                None => std::fs::remove_file(copy.path().join(&file)).unwrap(),
            }
            match topics(copy.path()).await {
                Ok(found) => {
                    assert_eq!(found, all, "{} {what}: topics were lost", file.display());
                    unharmed += 1;
                }
                Err(why) => {
                    assert!(
                        !why.is_empty() && !is_incidental(&file),
                        "{}: {why}",
                        file.display()
                    );
                    refused += 1;
                }
            }
            assert!(copy.path().join("partitions/t-0").exists());
        }
    }
    assert!(refused > 20, "refused {refused}, unharmed {unharmed}");

    for folder in ["kv", "raft"] {
        let copy = copy(dir.path());
        std::fs::remove_dir_all(copy.path().join(folder)).unwrap();
        assert!(topics(copy.path()).await.is_err(), "{folder} removed");
    }
    let copy = copy(dir.path());
    for gone in ["kv", "raft"] {
        std::fs::remove_dir_all(copy.path().join(gone)).unwrap();
    }
    std::fs::remove_file(copy.path().join("kv.initialised")).unwrap();
    let why = topics(copy.path()).await.unwrap_err();
    assert!(why.contains("has partitions"), "{why}");
}
