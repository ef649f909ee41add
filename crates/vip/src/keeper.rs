use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use kernel::address::{Addresses, VirtualAddress};

use crate::handle::Command;
use crate::pulse::Pulse;
use crate::{Error, Event, Service};

/// Puts addresses on interfaces, keeps them there and takes them away, on a thread of its own.
///
/// The kernel makes all changes to its network configuration one after the other, under one lock
/// for the whole machine, and starting or ending containers holds that lock for long. The thread
/// that speaks VRRP must never wait for it; this one may.
///
/// It renews the addresses only while the VRRP thread and the service prove alive.
pub(crate) struct Keeper {
    orders: Sender<Order>,
    thread: Option<JoinHandle<()>>,
}

/// The addresses of one virtual router.
#[derive(Clone, Debug)]
pub(crate) struct Holding {
    /// The instance's name.
    pub(crate) instance: String,
    /// The interface.
    pub(crate) link_index: u32,
    pub(crate) addresses: Vec<VirtualAddress>,
}

enum Order {
    /// Of the instance with this number.
    Hold(usize, Holding),
    Release(usize, Holding),
    /// Another process has held them until now.
    Adopt(Holding),
    /// Renew nothing, as another process is about to.
    Rest,
    GoOn,
    End,
}

/// A quarter of the shortest lifetime that is in use.
const RENEW_EACH: Duration = Duration::from_millis(500);

/// Without a turn of the VRRP thread for this long, nothing is renewed: two of its idle turns.
const PULSE_WITHIN: Duration = Duration::from_secs(1);

impl Keeper {
    /// `report` is told whose addresses have come, and of a rest.
    pub(crate) fn start(
        lifetime: Duration,
        realtime: bool,
        pulse: Arc<Pulse>,
        service: Arc<dyn Service>,
        tell: Arc<dyn Fn(Event) + Send + Sync>,
        report: impl Fn(Command) + Send + 'static,
    ) -> Result<Self, Error> {
        let (orders, receiver) = mpsc::channel();
        let work = Work {
            addresses: Addresses::open().map_err(Error::Monitor)?,
            lifetime,
            pulse,
            service,
            tell,
            report: Box::new(report),
            kept: BTreeMap::new(),
            resting: false,
        };
        let thread = std::thread::Builder::new()
            .name("vip-addresses".into())
            .spawn(move || {
                if realtime {
                    // The VRRP thread has told if that is not allowed.
                    let _ = kernel::process::realtime(crate::speaker::REALTIME_PRIORITY);
                }
                work.run(&receiver);
            })
            .map_err(Error::Thread)?;
        Ok(Self { orders, thread: Some(thread) })
    }

    pub(crate) fn hold(&self, instance: usize, holding: Holding) {
        // The thread ends only with this handle.
        let _ = self.orders.send(Order::Hold(instance, holding));
    }

    pub(crate) fn release(&self, instance: usize, holding: Holding) {
        let _ = self.orders.send(Order::Release(instance, holding));
    }

    /// Goes on with addresses that another process held: to be held, or released, from now on.
    pub(crate) fn adopt(&self, holding: Holding) {
        let _ = self.orders.send(Order::Adopt(holding));
    }

    /// Renews nothing from then on: [`Command::Resting`].
    pub(crate) fn rest(&self) {
        let _ = self.orders.send(Order::Rest);
    }

    pub(crate) fn go_on(&self) {
        let _ = self.orders.send(Order::GoOn);
    }
}

impl Drop for Keeper {
    /// Waits for what was ordered before, above all releases.
    fn drop(&mut self) {
        let _ = self.orders.send(Order::End);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

struct Work {
    addresses: Addresses,
    lifetime: Duration,
    pulse: Arc<Pulse>,
    service: Arc<dyn Service>,
    tell: Arc<dyn Fn(Event) + Send + Sync>,
    report: Box<dyn Fn(Command) + Send>,
    kept: BTreeMap<usize, Kept>,
    resting: bool,
}

struct Kept {
    holding: Holding,
    /// Whether all its addresses are on the interface, as far as is known.
    there: bool,
    /// The last error told, so that one that stays is told once.
    trouble: Option<String>,
}

impl Work {
    fn run(mut self, orders: &Receiver<Order>) {
        let mut renew = Instant::now() + RENEW_EACH;
        loop {
            match orders.recv_timeout(renew.saturating_duration_since(Instant::now())) {
                Ok(Order::Hold(number, holding)) => {
                    self.service.claimed(&ips(&holding));
                    self.kept.insert(number, Kept { holding, there: false, trouble: None });
                    self.put(number);
                }
                Ok(Order::Release(number, holding)) => {
                    self.kept.remove(&number);
                    self.release(&holding);
                }
                Ok(Order::Adopt(Holding { link_index, addresses, .. })) => {
                    addresses.iter().for_each(|it| self.addresses.adopt(link_index, it));
                }
                Ok(Order::Rest) => {
                    self.resting = true;
                    (self.report)(Command::Resting);
                }
                Ok(Order::GoOn) => {
                    self.resting = false;
                    self.renew();
                }
                Ok(Order::End) | Err(RecvTimeoutError::Disconnected) => return,
                Err(RecvTimeoutError::Timeout) => {
                    renew = Instant::now() + RENEW_EACH;
                    self.renew();
                }
            }
        }
    }

    fn renew(&mut self) {
        if self.resting {
            return;
        }
        let alive = self.pulse.beat_within(PULSE_WITHIN) && self.service.alive();
        let numbers: Vec<usize> = self.kept.keys().copied().collect();
        for number in numbers {
            match self.kept.get_mut(&number) {
                Some(kept) if !alive => kept.there = false,
                _ => self.put(number),
            }
        }
    }

    /// Puts the addresses on the interface, or renews their lifetime.
    fn put(&mut self, number: usize) {
        let Some(kept) = self.kept.get_mut(&number) else { return };
        let Holding { instance, link_index, addresses } = &kept.holding;
        let outcome = addresses
            .iter()
            .try_for_each(|address| self.addresses.hold(*link_index, address, self.lifetime));
        match outcome {
            Ok(()) => {
                if !std::mem::replace(&mut kept.there, true) {
                    (self.report)(Command::Held(number));
                }
                kept.trouble = None;
            }
            Err(error) => {
                let error = error.to_string();
                kept.there = false;
                if kept.trouble.as_ref() != Some(&error) {
                    kept.trouble = Some(error.clone());
                    (self.tell)(Event::Trouble { instance: instance.clone(), error });
                }
            }
        }
    }

    fn release(&mut self, holding: &Holding) {
        self.service.released(&ips(holding));
        for address in &holding.addresses {
            // Already gone, with its interface or by its lifetime, is as good.
            let _ = self.addresses.release(holding.link_index, address);
        }
    }
}

fn ips(holding: &Holding) -> Vec<IpAddr> {
    holding.addresses.iter().map(|held| held.address).collect()
}
