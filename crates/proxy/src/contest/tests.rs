//! Contests at random, against a model: the world, which knows both ends.

mod ends;
mod plan;
mod world;

use proptest::collection::vec;
use proptest::prelude::*;

use self::ends::Client;
use self::plan::{ClientPlan, Conduct, Connect, HELLO, Leaves, Plan, Temper};
use self::world::{MILLI, World, address};
use super::{Failure, Verdict};
use crate::evidence::EvidenceKind;
use crate::settings::Choice;
use crate::stats::BackendStats;

fn millis() -> impl Strategy<Value = u64> {
    prop_oneof![4 => 0..5_u64, 2 => 0..300_u64, 1 => 900..1_100_u64]
}

fn connects() -> impl Strategy<Value = Connect> {
    let failure = prop_oneof![
        Just(Failure::Backend(EvidenceKind::Unreachable)),
        Just(Failure::Backend(EvidenceKind::Refused)),
        Just(Failure::Machine),
        Just(Failure::Descriptors),
    ];
    prop_oneof![
        6 => millis().prop_map(Connect::Accepts),
        2 => millis().prop_map(Connect::Refuses),
        1 => failure.prop_map(Connect::FailsAtOnce),
        1 => Just(Connect::Never),
    ]
}

fn conducts() -> impl Strategy<Value = Conduct> {
    prop_oneof![
        4 => millis().prop_map(Conduct::Answers),
        2 => Just(Conduct::Silent),
        1 => millis().prop_map(Conduct::Resets),
        1 => millis().prop_map(Conduct::Ends),
        1 => millis().prop_map(Conduct::Greets),
        1 => millis().prop_map(Conduct::EndsUnasked),
        1 => millis().prop_map(Conduct::ResetsUnasked),
    ]
}

fn tempers() -> impl Strategy<Value = Temper> {
    let room = prop_oneof![3 => Just(1 << 20), 1 => 1..400_usize];
    (connects(), conducts(), room).prop_map(|(connect, conduct, room)| Temper {
        connect,
        conduct,
        room,
    })
}

/// A ClientHello, one with something after it, or something else.
fn speeches() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        6 => Just(HELLO.to_vec()),
        1 => (1..1_000_usize).prop_map(|more| [HELLO, &vec![23; more]].concat()),
        1 => (1..1_000_usize).prop_map(|length| b"POST / HTTP/1.1\r\n".repeat(length / 17 + 1)),
        1 => Just(Vec::new()),
    ]
}

fn clients() -> impl Strategy<Value = ClientPlan> {
    let leaves = prop_oneof![
        3 => Just(Leaves::Never),
        2 => millis().prop_map(Leaves::Ends),
        1 => millis().prop_map(Leaves::Resets),
    ];
    let cuts = vec((millis(), 1..500_usize), 1..4);
    (millis(), speeches(), cuts, any::<bool>(), leaves, vec(0..3_000_u64, 0..3)).prop_map(
        |(comes, says, cuts, everything, leaves, alarms)| {
            let mut left = says.len();
            let mut pieces: Vec<_> = cuts
                .into_iter()
                .map(|(pause, length)| {
                    let length = length.min(left);
                    left -= length;
                    (pause, length)
                })
                .collect();
            if everything {
                pieces.push((0, left));
            }
            ClientPlan { comes, says, pieces, leaves, alarms }
        },
    )
}

fn plans(most_clients: usize) -> impl Strategy<Value = Plan> {
    let choices = prop_oneof![Just(Choice::RoundRobin), Just(Choice::LeastConnections)];
    let reads = prop_oneof![3 => Just(1 << 16), 1 => 1..400_usize];
    (
        vec(tempers(), 1..5),
        vec(clients(), 1..=most_clients),
        choices,
        any::<bool>(),
        reads,
        any::<u32>(),
    )
        .prop_map(|(backends, clients, choice, introduces, read, order)| Plan {
            backends,
            clients,
            choice,
            introduces,
            read,
            order,
        })
}

/// What holds for a client whatever happened.
fn check(client: &Client, world: &World) {
    for seen in &client.attempts {
        assert!(HELLO.starts_with(&seen.got), "more than one backend may have got this");
    }
    let winner = client.winner.as_ref();
    let Some((at, verdict)) = client.verdict else {
        // It may wait for as long as somebody is there who may still serve it.
        assert!(client.attempts.iter().any(ends::Seen::is_open));
        return;
    };
    match verdict {
        Verdict::Decided { attempt, .. } => {
            let (seen, winner) = (&client.attempts[attempt], winner.expect("a winner"));
            assert_eq!(winner.line, attempt);
            assert_eq!(winner.backend.address, address(seen.backend));
            assert_eq!(winner.delivered, seen.got.len());
            let all = [&seen.got[..], &winner.undelivered].concat();
            assert_eq!(all, client.heard(), "every byte that was read, once and in order");
            assert_eq!(winner.client_ended, seen.told_end);
            assert!(!seen.told_end || client.has_ended());
        }
        Verdict::Unserved => {
            let has_failed =
                |backend| client.attempts.iter().any(|seen| seen.backend == backend && seen.failed);
            assert!((0..world.plan.backends.len()).all(has_failed), "somebody was left");
        }
        Verdict::Starved => {
            let last = client.attempts.last().map(|seen| world.plan.backends[seen.backend].connect);
            let starved = Connect::FailsAtOnce(Failure::Descriptors);
            assert_eq!(last, Some(starved));
        }
        Verdict::ClientGone => assert!(matches!(client.leaves(), Leaves::Resets(_))),
    }
    let open = client.attempts.iter().filter(|seen| seen.is_open()).count();
    assert_eq!(open, usize::from(winner.is_some()), "the others are closed");

    // A second to connect and one to answer for each, and what the backends take in the worst case.
    let settings = &world.shared.settings;
    let patience = (settings.connect_timeout + settings.hedge_after).as_micros() as u64;
    let attempts = client.attempts.len() as u64 + 1;
    let latest = client.last_deed() + attempts * patience + 2 * 1_100 * MILLI;
    assert!(world.clients.len() > 1 || at <= latest, "over after {at} µs, at last {latest}");
}

/// What holds for the counters whatever happened.
fn check_counters(world: &World) {
    let stats = world.shared.stats();
    let attempts = || world.clients.iter().flat_map(|client| &client.attempts);
    let further = stats.retries + stats.raced + stats.hedges;
    assert_eq!(attempts().count() as u64, world.clients.len() as u64 + further);
    assert!(stats.hedges_won <= stats.hedges);
    let replays: usize = world
        .clients
        .iter()
        .map(|client| client.attempts.iter().filter(|seen| !seen.got.is_empty()).count())
        .map(|asked| asked.saturating_sub(1))
        .sum();
    assert_eq!(stats.replays, replays as u64);

    let usable = world.shared.backends.usable();
    for (position, backend) in usable.iter().enumerate() {
        let of = |stats: &&BackendStats| stats.address == address(position);
        let stats = stats.backends.iter().find(of).expect("known");
        let fault =
            |kind| world.faults.iter().filter(|fault| **fault == (position, kind)).count() as u64;
        assert_eq!(stats.refused, fault(EvidenceKind::Refused));
        assert_eq!(stats.unreachable, fault(EvidenceKind::Unreachable));
        assert_eq!(stats.timeouts, fault(EvidenceKind::ConnectTimeout));
        assert_eq!(stats.resets, fault(EvidenceKind::ResetBeforeFirstByte));
        let begun = attempts().filter(|seen| seen.backend == position);
        assert_eq!(stats.connects, begun.clone().count() as u64);
        assert_eq!(backend.load(), begun.filter(|seen| seen.is_open()).count());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4_000, failure_persistence: None, ..Default::default() })]

    #[test]
    fn one_client_is_served_once_or_told_why_not(plan in plans(1)) {
        let world = World::play(plan);
        check(&world.clients[0], &world);
        check_counters(&world);
    }

    #[test]
    fn clients_beside_one_another_are_too(plan in plans(6)) {
        let world = World::play(plan);
        world.clients.iter().for_each(|client| check(client, &world));
        check_counters(&world);
    }

    #[test]
    fn a_client_that_asks_and_stays_is_served_if_anybody_serves(
        mut backends in vec(tempers(), 0..4),
        position in any::<prop::sample::Index>(),
        comes in millis(),
        order in any::<u32>(),
    ) {
        // Want of descriptors would be the proxy's own fault.
        let starving = |it: &Temper| matches!(it.connect, Connect::FailsAtOnce(Failure::Descriptors));
        backends.retain(|it| !starving(it));
        // One that speaks unasked may end a client by it.
        backends.retain(|it| !matches!(
            it.conduct,
            Conduct::Greets(_) | Conduct::EndsUnasked(_)
        ));
        let good = Temper {
            connect: Connect::Accepts(1),
            conduct: Conduct::Answers(1),
            room: 1 << 20,
        };
        backends.insert(position.index(backends.len() + 1), good);
        let client = ClientPlan {
            comes,
            says: HELLO.to_vec(),
            pieces: vec![(0, HELLO.len())],
            leaves: Leaves::Never,
            alarms: Vec::new(),
        };
        let plan = Plan {
            backends,
            clients: vec![client],
            choice: Choice::RoundRobin,
            introduces: false,
            read: 1 << 16,
            order,
        };
        let world = World::play(plan);
        let decided = matches!(
            world.clients[0].verdict,
            Some((_, Verdict::Decided { received: 1.., .. }))
        );
        prop_assert!(decided, "{:?}", world.clients[0]);
    }

    #[test]
    fn turns_are_exactly_even_over_healthy_backends(
        backends in vec(millis(), 1..5),
        rounds in 1..8_usize,
        comes in vec(millis(), 40),
        order in any::<u32>(),
    ) {
        // Below the time after which another would be raced.
        let healthy = |takes: &u64| Temper {
            connect: Connect::Accepts(takes % 25),
            conduct: Conduct::Answers(takes % 90),
            room: 1 << 20,
        };
        let clients: Vec<_> = comes
            .iter()
            .take(rounds * backends.len())
            .map(|&comes| ClientPlan {
                comes,
                says: HELLO.to_vec(),
                pieces: vec![(comes % 7, HELLO.len())],
                leaves: Leaves::Never,
                alarms: Vec::new(),
            })
            .collect();
        let plan = Plan {
            backends: backends.iter().map(healthy).collect(),
            clients,
            choice: Choice::RoundRobin,
            introduces: false,
            read: 1 << 16,
            order,
        };
        let world = World::play(plan);
        let wins = |position| {
            let won = |client: &&Client| {
                client.winner.as_ref().is_some_and(|it| it.backend.address == address(position))
            };
            world.clients.iter().filter(won).count()
        };
        for position in 0..backends.len() {
            prop_assert_eq!(wins(position), rounds);
        }
    }
}
