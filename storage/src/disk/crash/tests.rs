use super::*;

fn path() -> PathBuf {
    PathBuf::from("/d/f")
}

/// A disk with the durable, empty folder `/d`.
fn disk() -> CrashDisk {
    let disk = CrashDisk::new();
    disk.create_dir_all(Path::new("/d")).unwrap();
    disk.sync_dir(Path::new("/")).unwrap();
    disk
}

fn write(disk: &CrashDisk, bytes: &[u8], at: u64) -> io::Result<()> {
    disk.open(&path(), OpenMode::Create)?
        .write_all_at(&mut [IoSlice::new(bytes)], at)
}

/// Bytes need the file's sync, names the folder's; each alone leaves nothing.
#[test]
fn only_what_was_synced_survives_a_power_loss_for_certain() {
    let table = [
        (false, false, None),
        (true, false, None),
        (false, true, Some(Vec::new())),
        (true, true, Some(b"abc".to_vec())),
    ];
    for (sync_file, sync_folder, expected) in table {
        let disk = disk();
        write(&disk, b"abc", 0).unwrap();
        if sync_file {
            disk.open(&path(), OpenMode::Read)
                .unwrap()
                .sync_data()
                .unwrap();
        }
        if sync_folder {
            disk.sync_dir(Path::new("/d")).unwrap();
        }
        assert_eq!(
            disk.crash(0).bytes(&path()),
            expected,
            "{sync_file} {sync_folder}"
        );
        assert_eq!(disk.kill().bytes(&path()), Some(b"abc".to_vec()));
    }
}

/// Over many seeds each sector is seen kept and lost, whatever its neighbours are; what was synced is always kept.
#[test]
fn unsynced_sectors_and_names_survive_in_any_combination() {
    let disk = disk();
    write(&disk, &[1; 512], 0).unwrap();
    disk.open(&path(), OpenMode::Read)
        .unwrap()
        .sync_data()
        .unwrap();
    disk.sync_dir(Path::new("/d")).unwrap();
    write(&disk, &[2; 1536], 512).unwrap();
    disk.rename(&path(), Path::new("/d/g")).unwrap();
    let mut seen = BTreeSet::new();
    for seed in 1..400 {
        let after = disk.crash(seed);
        let names = [path(), PathBuf::from("/d/g")].map(|p| after.bytes(&p));
        for bytes in names.iter().flatten() {
            assert_eq!(&bytes[..512], &[1; 512]);
            let sectors: Vec<u8> = bytes[512..].chunks(512).map(|s| s[0]).collect();
            seen.insert(sectors);
        }
        seen.insert(vec![
            9,
            u8::from(names[0].is_some()),
            u8::from(names[1].is_some()),
        ]);
    }
    for expected in [
        vec![],
        vec![0, 2, 0],
        vec![2, 2, 2],
        vec![0, 0, 2],
        vec![9, 1, 0],
        vec![9, 0, 1],
    ] {
        assert!(seen.contains(&expected), "{expected:?} in {seen:?}");
    }
}

/// A budget of n changes, for each n (making the file is one): the n are done, half of the next write, and nothing more.
#[test]
fn a_process_that_is_gone_changes_nothing_more() {
    let table = [
        (0, None),
        (1, Some("ab")),
        (2, Some("abcdef")),
        (3, Some("abcdefghij")),
    ];
    for (n, left) in table {
        let disk = disk();
        disk.stop_after(n);
        for (bytes, at) in [("abcd", 0), ("efgh", 4), ("ijkl", 8), ("mnop", 12)] {
            let _ = write(&disk, bytes.as_bytes(), at).is_err();
        }
        let left: Option<Vec<u8>> = left.map(|l| l.as_bytes().to_vec());
        assert_eq!(disk.kill().bytes(&path()), left, "{n}");
    }
}

/// A failed sync drops the pages, as Linux does: the next one succeeds and does not bring them back.
#[test]
fn what_a_failed_sync_did_not_write_is_never_written() {
    let disk = disk();
    write(&disk, b"abc", 0).unwrap();
    disk.sync_dir(Path::new("/d")).unwrap();
    disk.fail_sync(2);
    let file = disk.open(&path(), OpenMode::ReadWrite).unwrap();
    file.sync_data().unwrap();
    write(&disk, b"def", 3).unwrap();
    assert!(file.sync_data().is_err());
    write(&disk, b"ghi", 6).unwrap();
    file.sync_data().unwrap();
    assert_eq!(disk.crash(0).bytes(&path()), Some(b"abc\0\0\0ghi".to_vec()));
}

/// The part that fits is written; what is removed makes room.
#[test]
fn a_full_disk_cuts_a_write_short() {
    let disk = disk();
    disk.set_capacity(Some(5));
    write(&disk, b"abc", 0).unwrap();
    let full = write(&disk, b"defg", 3).unwrap_err();
    assert_eq!(full.kind(), io::ErrorKind::StorageFull);
    assert_eq!(disk.bytes(&path()), Some(b"abcde".to_vec()));
    write(&disk, b"xyz", 0).unwrap();
    disk.remove_file(&path()).unwrap();
    assert_eq!(disk.used_bytes(), 0);
    write(&disk, b"12345", 0).unwrap();
}
