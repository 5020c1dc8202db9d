//! Whatever members do, a partition is had by one of them at a time.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::{Client, G, SESSION_MS, World, sizes};

/// What clients do.
#[derive(Clone, Debug)]
enum Act {
    Beat(usize),
    /// The answer is lost.
    Lost(usize),
    /// Without a word.
    Crash(usize),
    Leave(usize),
    Pass(i64),
    Grow,
    Restart,
}

fn act() -> impl Strategy<Value = Act> {
    let who = 0..4usize;
    prop_oneof![
        8 => who.clone().prop_map(Act::Beat),
        1 => who.clone().prop_map(Act::Lost),
        1 => who.clone().prop_map(Act::Crash),
        1 => who.prop_map(Act::Leave),
        3 => (100..20_000i64).prop_map(Act::Pass),
        1 => Just(Act::Grow),
        1 => Just(Act::Restart),
    ]
}

/// No two members have one partition: neither by what the broker told them, nor by what the group keeps.
fn nothing_is_had_twice(world: &World, clients: &[Client]) {
    let Some(group) = world.shard.consumers.get(G) else {
        return;
    };
    let mut kept = BTreeSet::new();
    for member in group.members.values() {
        for (topic, partitions) in member.assigned.iter().chain(&member.revoking) {
            for partition in partitions.keys() {
                assert!(kept.insert((*topic, *partition)), "kept twice");
                assert_eq!(group.owner(*topic, *partition), Some(&member.id));
            }
        }
    }
    let mut had = BTreeSet::new();
    // One that is not in the group any more may not know it yet.
    for client in clients
        .iter()
        .filter(|client| group.members.contains_key(&client.id))
    {
        for (topic, partitions) in &client.owned {
            for partition in partitions {
                assert!(had.insert((*topic, *partition)), "had twice: {clients:?}");
            }
        }
    }
}

proptest! {
    /// Members come, go, crash and lose answers, while topics come and the broker starts anew.
    #[test]
    fn whatever_happens_a_partition_has_one_owner(acts in prop::collection::vec(act(), 1..80)) {
        let mut world = World::new(&[("t", 3), ("u0", 2)]);
        let names = |at: usize| -> &[&str] {
            [&["t"][..], &["t", "u0", "u1"], &["t", "u1", "u2"], &["u0", "u2"]][at]
        };
        let mut lives = 0;
        let mut born = |at: usize| {
            lives += 1;
            Client::new(&format!("m{at}-{lives}"), names(at))
        };
        let mut clients: Vec<Client> = (0..4).map(&mut born).collect();
        let mut more = 0;
        for act in acts {
            match act {
                Act::Beat(at) => {
                    let _ = world.beat(&mut clients[at]);
                }
                Act::Lost(at) => {
                    let _ = world.beat(&mut clients[at].clone());
                }
                Act::Crash(at) => clients[at] = born(at),
                Act::Leave(at) => {
                    let _ = world.leave(&clients[at], -1);
                    clients[at] = born(at);
                }
                Act::Pass(ms) => world.pass(ms),
                Act::Grow => {
                    more += 1;
                    world.create(&format!("u{more}"), 2);
                }
                Act::Restart => world = world.restarted(),
            }
            nothing_is_had_twice(&world, &clients);
        }
        // Those who crashed are forgotten, and everybody has what it shall have.
        for _ in 0..8 {
            world.pass(SESSION_MS / 3);
            for client in &mut clients {
                let _ = world.beat(client);
            }
            nothing_is_had_twice(&world, &clients);
        }
        world.converge(&mut clients);
        let image = world.image.lock().unwrap().clone();
        let read: BTreeSet<&str> = (0..4).flat_map(names).copied().collect();
        let all = image.topics.values().filter(|topic| read.contains(topic.name.as_str()));
        let all: usize = all.map(|topic| topic.partitions.len()).sum();
        prop_assert_eq!(sizes(&clients).iter().sum::<usize>(), all);
    }
}
