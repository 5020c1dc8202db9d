//! Any bytes in the segments, with and without what is derived from them: a tail of noise, a tail of batches whose checksums fit
//! and whose fields do not, a change in the middle.
#![no_main]

use libfuzzer_sys::fuzz_target;
use storage::batch::{BatchHeader, HEADER_LEN, build_batch};

fuzz_target!(|data: &[u8]| {
    let [how, which, rest @ ..] = data else {
        return;
    };
    let mut files = chronosdb_fuzz::FILES.clone();
    if how & 4 != 0 {
        files.retain(|path, _| path.extension() == Some("log".as_ref()));
    }
    let segments: Vec<_> = files
        .keys()
        .filter(|p| p.extension() == Some("log".as_ref()))
        .cloned()
        .collect();
    let path = &segments[usize::from(*which) % segments.len()];
    let file = files.get_mut(path).unwrap();
    match how & 3 {
        0 => file.extend_from_slice(rest),
        1 => {
            let mut rest = rest;
            while let Ok(header) = BatchHeader::parse(rest) {
                let end = (HEADER_LEN + 40).min(rest.len());
                file.extend_from_slice(&build_batch(header, &rest[HEADER_LEN..end]));
                rest = &rest[end..];
            }
        }
        2 => {
            let at = usize::from(*how) * 7 % (file.len() + 1);
            let end = (at + rest.len()).min(file.len());
            file[at..end].copy_from_slice(&rest[..end - at]);
        }
        _ => *file = rest.to_vec(),
    }
    chronosdb_fuzz::use_log(&files);
});
