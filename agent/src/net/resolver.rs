//! Names become addresses on at most two threads of our own. The C library does it, since only that honours /etc/hosts,
//! nsswitch.conf and a resolv.conf that changes; it cannot be interrupted, so a look-up that hangs keeps its thread, and
//! nothing else. A thread ends when no name is left for it.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use holdfast_core::link::lookup::Lookups;
use holdfast_core::time::Time;
use smol::channel::{Receiver, Sender, bounded};

use super::words;
use crate::os::clock;

/// Modules of the name service switch may need that much; what is not used costs nothing.
const STACK_BYTES: usize = 512 * 1024;
/// How long an answer that came too late for everybody is kept for the next one to ask: a name server that takes longer than
/// a dial may would keep a link down for ever.
const KEPT_FOR: Duration = Duration::from_secs(60);
/// How many such answers are.
const KEPT: usize = 64;

static SYSTEM: LazyLock<Arc<Resolver>> = LazyLock::new(|| Arc::new(Resolver::new(ask_system)));

/// Looks up a name, or reads an address. An error is the cause alone. The caller sets the deadline.
pub async fn resolve(host: &str) -> io::Result<Vec<SocketAddr>> {
    match host.parse::<IpAddr>() {
        Ok(address) => Ok(vec![SocketAddr::new(address, 0)]),
        Err(_) => SYSTEM.resolve(host).await,
    }
}

fn ask_system(name: &str) -> io::Result<Vec<SocketAddr>> {
    Ok((name, 0).to_socket_addrs()?.collect())
}

type Lookup = dyn Fn(&str) -> io::Result<Vec<SocketAddr>> + Send + Sync;
/// One answer for many, so its error is a kind and its words.
type Answer = Result<Vec<SocketAddr>, (io::ErrorKind, String)>;

struct Resolver {
    lookup: Box<Lookup>,
    desk: Mutex<Desk>,
}

#[derive(Default)]
struct Desk {
    lookups: Lookups,
    waiting: BTreeMap<String, Vec<Sender<Answer>>>,
    kept: BTreeMap<String, (Time, Vec<SocketAddr>)>,
}

/// Waits for an answer, until it is dropped.
struct Waiting<'a> {
    resolver: &'a Resolver,
    name: &'a str,
    answer: Receiver<Answer>,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.answer.close();
        let mut desk = self.resolver.desk();
        if let Some(waiting) = desk.waiting.get_mut(self.name) {
            waiting.retain(|answer| !answer.is_closed());
            if waiting.is_empty() {
                desk.waiting.remove(self.name);
                desk.lookups.withdraw(self.name);
            }
        }
    }
}

impl Resolver {
    fn new(lookup: impl Fn(&str) -> io::Result<Vec<SocketAddr>> + Send + Sync + 'static) -> Resolver {
        Resolver { lookup: Box::new(lookup), desk: Mutex::default() }
    }

    fn desk(&self) -> MutexGuard<'_, Desk> {
        self.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn resolve(self: &Arc<Resolver>, name: &str) -> io::Result<Vec<SocketAddr>> {
        let (sender, answer) = bounded(1);
        {
            let mut desk = self.desk();
            if let Some((at, found)) = desk.kept.remove(name)
                && clock::now().mono.since(at) < KEPT_FOR
            {
                return Ok(found);
            }
            desk.waiting.entry(name.to_owned()).or_default().push(sender);
            desk.lookups.ask(name);
        }
        let waiting = Waiting { resolver: self, name, answer };
        self.begin();
        match waiting.answer.recv().await {
            Ok(answer) => answer.map_err(|(kind, cause)| io::Error::new(kind, cause)),
            Err(_) => Err(io::Error::other("the thread that looked it up is gone")),
        }
    }

    /// Starts a thread if there is a name for one.
    fn begin(self: &Arc<Resolver>) {
        let Some(name) = self.desk().lookups.begin() else { return };
        let thread = std::thread::Builder::new().name("resolver".to_owned()).stack_size(STACK_BYTES);
        let (resolver, first) = (self.clone(), name.clone());
        let Err(error) = thread.spawn(move || resolver.work(first)) else { return };
        let mut desk = self.desk();
        if !desk.lookups.put_off(&name) {
            desk.answer(&name, Err((error.kind(), format!("cannot start a thread: {}", words(&error)))));
        }
    }

    /// The thread.
    fn work(self: Arc<Resolver>, first: String) {
        let mut next = Some(first);
        while let Some(name) = next {
            let since = clock::now().mono;
            let found = (self.lookup)(&name).map_err(|error| (error.kind(), words(&error)));
            let now = clock::now().mono;
            let mut desk = self.desk();
            desk.lookups.end(&name, now.since(since));
            desk.keep(&name, now, &found);
            desk.answer(&name, found);
            next = desk.lookups.begin();
            drop(desk);
            // Names that waited for a slow one to end may be more than this thread takes.
            self.begin();
        }
    }
}

impl Desk {
    fn answer(&mut self, name: &str, answer: Answer) {
        for waiting in self.waiting.remove(name).unwrap_or_default() {
            // Each has room for one.
            let _ = waiting.try_send(answer.clone());
        }
    }

    fn keep(&mut self, name: &str, now: Time, found: &Answer) {
        self.kept.retain(|_, (at, _)| now.since(*at) < KEPT_FOR);
        if let Ok(found) = found
            && !self.waiting.contains_key(name)
            && self.kept.len() < KEPT
        {
            self.kept.insert(name.to_owned(), (now, found.clone()));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use smol::future::{or, poll_once, yield_now};
    use smol::{LocalExecutor, Timer, block_on};

    use super::*;

    /// A name service whose names beginning with `hung` answer only once they may.
    struct Service {
        resolver: Arc<Resolver>,
        asked: Arc<Mutex<Vec<String>>>,
        at_once: Arc<AtomicUsize>,
        most: Arc<AtomicUsize>,
        release: Sender<()>,
    }

    fn service() -> Service {
        let (release, gate) = bounded::<()>(1);
        let asked = Arc::<Mutex<Vec<String>>>::default();
        let (at_once, most) = (Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
        let lookup = {
            let (asked, at_once, most) = (Arc::clone(&asked), Arc::clone(&at_once), Arc::clone(&most));
            move |name: &str| {
                asked.lock().unwrap().push(name.to_owned());
                most.fetch_max(at_once.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                if name.starts_with("hung") {
                    let _ = gate.recv_blocking();
                }
                at_once.fetch_sub(1, Ordering::SeqCst);
                match name {
                    "nowhere" => Err(io::Error::new(io::ErrorKind::NotFound, "Name or service not known")),
                    _ => Ok(vec!["192.0.2.1:0".parse().unwrap(), "[2001:db8::1]:0".parse().unwrap()]),
                }
            }
        };
        Service { resolver: Arc::new(Resolver::new(lookup)), asked, at_once, most, release }
    }

    impl Service {
        fn asked(&self) -> Vec<String> {
            self.asked.lock().unwrap().clone()
        }

        async fn at_once(&self, count: usize) {
            while self.at_once.load(Ordering::SeqCst) != count {
                yield_now().await;
            }
        }
    }

    fn test(body: impl AsyncFnOnce(Service)) {
        block_on(or(body(service()), async {
            Timer::after(Duration::from_secs(60)).await;
            panic!("the test hangs");
        }));
    }

    #[test]
    fn an_address_needs_no_thread() {
        let read = |host| block_on(poll_once(resolve(host))).expect("at once").unwrap();
        assert_eq!(read("192.0.2.7"), ["192.0.2.7:0".parse().unwrap()]);
        assert_eq!(read("2001:db8::7"), ["[2001:db8::7]:0".parse().unwrap()]);
    }

    #[test]
    fn eighty_who_wait_for_twenty_names_need_two_threads_and_twenty_look_ups() {
        test(async |service| {
            let executor = LocalExecutor::new();
            let tasks = (0..80).map(|number| {
                let (resolver, name) = (service.resolver.clone(), format!("name{}", number % 20));
                executor.spawn(async move { resolver.resolve(&name).await.unwrap().len() })
            });
            let tasks: Vec<_> = tasks.collect();
            let all = executor.run(async {
                for task in tasks {
                    assert_eq!(task.await, 2);
                }
            });
            all.await;
            assert!(service.most.load(Ordering::SeqCst) <= 2);
            // A name that was answered before the last one asked for it is looked up again.
            assert!(service.asked().len() >= 20);
            assert!(service.resolver.desk().waiting.is_empty());
        });
    }

    #[test]
    fn who_waits_for_a_look_up_that_hangs_may_go_at_any_time_and_leaves_nothing_behind() {
        test(async |service| {
            for round in 0..200 {
                let name = format!("hung{}", round % 20);
                assert!(poll_once(service.resolver.resolve(&name)).await.is_none());
            }
            service.at_once(2).await;
            assert_eq!(service.asked().len(), 2);
            assert!(service.resolver.desk().waiting.is_empty());
            service.release.close();
            // All go on once the name service answers.
            service.resolver.resolve("hung7").await.unwrap();
            service.at_once(0).await;
            assert_eq!(service.asked().len(), 3);
        });
    }

    #[test]
    fn who_asks_for_a_name_that_is_being_looked_up_waits_for_that() {
        test(async |service| {
            let (one, other) = (service.resolver.resolve("hung"), service.resolver.resolve("hung"));
            let release = async {
                service.at_once(1).await;
                service.release.close();
                smol::future::pending().await
            };
            let both = async { smol::future::zip(one, other).await };
            let (one, other) = or(both, release).await;
            assert_eq!(one.unwrap(), other.unwrap());
            assert_eq!(service.asked(), ["hung"]);
        });
    }

    #[test]
    fn an_answer_that_comes_too_late_is_there_for_the_next_one_to_ask_and_only_once() {
        test(async |service| {
            assert!(poll_once(service.resolver.resolve("hung")).await.is_none());
            service.at_once(1).await;
            service.release.close();
            while service.resolver.desk().kept.is_empty() {
                yield_now().await;
            }
            let found = poll_once(service.resolver.resolve("hung")).await.expect("it is there").unwrap();
            assert_eq!(found.len(), 2);
            service.resolver.resolve("hung").await.unwrap();
            assert_eq!(service.asked(), ["hung", "hung"]);
        });
    }

    #[test]
    fn a_name_that_does_not_exist_fails_for_all_who_wait() {
        test(async |service| {
            let asking = [service.resolver.resolve("nowhere"), service.resolver.resolve("nowhere")];
            for found in asking {
                let error = found.await.unwrap_err();
                assert_eq!(
                    (error.kind(), error.to_string()),
                    (io::ErrorKind::NotFound, "name or service not known".to_owned())
                );
            }
        });
    }
}
