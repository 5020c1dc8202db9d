//! DescribeLogDirs answers of version 5, which the codec does not have: version 4 with a flag for each folder.

use bytes::{BufMut, BytesMut};
use kafka_protocol::messages::DescribeLogDirsResponse;

/// From here on the answer is encoded here.
pub(crate) const OWN_VERSION: i16 = 5;

/// Writes a v5 answer; no folder is cordoned.
pub(crate) fn encode(body: &DescribeLogDirsResponse, out: &mut BytesMut) {
    out.put_i32(body.throttle_time_ms);
    out.put_i16(body.error_code);
    length(out, body.results.len());
    for result in &body.results {
        out.put_i16(result.error_code);
        string(out, &result.log_dir);
        length(out, result.topics.len());
        for topic in &result.topics {
            string(out, &topic.name.0);
            length(out, topic.partitions.len());
            for p in &topic.partitions {
                out.put_i32(p.partition_index);
                out.put_i64(p.partition_size);
                out.put_i64(p.offset_lag);
                out.put_u8(p.is_future_key.into());
                no_tags(out);
            }
            no_tags(out);
        }
        out.put_i64(result.total_bytes);
        out.put_i64(result.usable_bytes);
        out.put_u8(0);
        no_tags(out);
    }
    no_tags(out);
}

/// A compact length: one more, as an unsigned varint.
fn length(out: &mut BytesMut, len: usize) {
    let mut n = len + 1;
    while n >= 0x80 {
        out.put_u8(u8::try_from(n & 0x7f).unwrap_or(0) | 0x80);
        n >>= 7;
    }
    out.put_u8(u8::try_from(n).unwrap_or(0));
}

fn string(out: &mut BytesMut, text: &str) {
    length(out, text.len());
    out.put_slice(text.as_bytes());
}

fn no_tags(out: &mut BytesMut) {
    out.put_u8(0);
}

#[cfg(test)]
mod tests {
    use super::*;
    use kafka_protocol::{
        messages::{
            TopicName,
            describe_log_dirs_response::{
                DescribeLogDirsPartition, DescribeLogDirsResult, DescribeLogDirsTopic,
            },
        },
        protocol::Encodable,
    };

    /// Version 4 as the codec writes it, with the flag put in by hand, is version 5.
    #[test]
    fn it_is_version_4_and_a_flag() {
        let partition = DescribeLogDirsPartition::default().with_partition_size(300);
        let topic = DescribeLogDirsTopic::default()
            .with_name(TopicName("t".into()))
            .with_partitions(vec![partition; 200]);
        let result = DescribeLogDirsResult::default()
            .with_log_dir("/data".into())
            .with_topics(vec![topic])
            .with_total_bytes(7);
        let body = DescribeLogDirsResponse::default().with_results(vec![result]);
        let mut expected = BytesMut::new();
        body.encode(&mut expected, 4).unwrap();
        // Before the tags of the folder and of the answer.
        let at = expected.len() - 2;
        let tail = expected.split_off(at);
        expected.put_u8(0);
        expected.unsplit(tail);
        let mut written = BytesMut::new();
        encode(&body, &mut written);
        assert_eq!(written, expected);
    }
}
