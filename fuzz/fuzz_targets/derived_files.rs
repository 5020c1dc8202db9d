//! Index, manifest, checkpoint, producers, log start: any bytes in them. Each change names a file, and what it then holds: some of
//! its bytes replaced, or all. With `sealed`, a JSON file gets the checksum that fits.
#![no_main]

use chronosdb_fuzz::crc32c;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let mut files = chronosdb_fuzz::FILES.clone();
    let derived: Vec<_> = files
        .keys()
        .filter(|p| p.extension() != Some("log".as_ref()))
        .cloned()
        .collect();
    let mut data = data;
    while let [which, how, len, rest @ ..] = data {
        let (bytes, rest) = rest.split_at(usize::from(*len).min(rest.len()));
        data = rest;
        let path = &derived[usize::from(*which) % derived.len()];
        let file = files.get_mut(path).unwrap();
        match how % 4 {
            0 => file.clear(),
            1 => *file = bytes.to_vec(),
            2 => *file = [bytes, format!("\n{:08x}\n", crc32c(bytes)).as_bytes()].concat(),
            _ => {
                let at = usize::from(*how) * 3 % (file.len() + 1);
                let end = (at + bytes.len()).min(file.len());
                file[at..end].copy_from_slice(&bytes[..end - at]);
            }
        }
    }
    chronosdb_fuzz::use_log(&files);
});
