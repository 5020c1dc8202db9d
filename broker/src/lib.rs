//! The ChronosDB node.
//!
//! | task or lock | how many | sole owner of | hears | ends |
//! |---|---|---|---|---|
//! | openraft's core, log and state-machine tasks (in `metadata`) | 1 each | the metadata log, the next image | `propose` | `Metadata::stop` |
//! | `node::follow` | 1 | opening and removing partitions | metadata images | with the node |
//! | `schedule::fire_loop` | 1 for each core, 4 at most | deadlines, firing | `FireHandle::watch`, commits, `timerfd` | shutdown |
//! | log writer (mutex in `storage`) | per partition | the log's end, producer state | appends | topic deleted |
//! | sync threads (in `storage`) | 2 | `fdatasync`, `syncfs` | logs with appends | with the registry |
//! | journal thread (in `storage`) | 1 | the journal | logs with small appends | `Syncer::close_journal` |
//! | connection reader and writer (in `kafka-compat`) | per connection | its socket | frames, answers | client leaves, shutdown |
//! | gRPC connections (in `grpc`, by tonic, on threads of `node::admin`) | per connection | its socket | calls, answers | client leaves, shutdown |
//! | `coordinator::runtime` | 2: groups, transactions | loading, deadlines | metadata images, writes, a timer | shutdown |
//! | group shard (mutex in `coordinator`) | per partition of `__consumer_offsets` | its groups | requests, deadlines | topic deleted |
//! | transaction shard (mutex in `coordinator`) | per partition of `__transaction_state` | its transactional ids | requests, deadlines | topic deleted |
//! | `Transactions::finish` | per transaction that ends | its markers, and that it is complete | `Ending`s of shards | when written, shutdown |
//! | `compaction` | 1 | compacting logs | a timer | shutdown |
//! | `scrub` | 1 | looking for damage | a timer | shutdown |
//! | `replay::job` | 1, and 1 for each job that runs | a job's progress | metadata images | shutdown |
//! | `dedup::run` | 1 | bringing message ids to their index | many in memory, a timer | shutdown |
//! | `node::checkpoints` | 1 | when logs are checkpointed | a timer | shutdown |

pub mod api;
pub mod build;
pub mod cli;
pub mod compaction;
pub mod config;
pub mod coordinator;
pub mod dedup;
pub mod group;
pub mod grpc;
pub mod health;
pub mod http;
pub mod ids;
pub mod metadata;
pub mod node;
pub mod pace;
pub mod partition;
pub mod re2;
pub mod reference;
pub mod replay;
pub mod requests;
pub mod schedule;
pub mod scrub;
pub mod support_bundle;
pub mod telemetry;
pub mod token;
pub mod topic_config;
pub mod transaction;
pub mod wal;
