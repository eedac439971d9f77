use std::{
    io,
    sync::{Arc, Mutex},
};

use super::*;

/// A name that resolves to what the test says.
struct Scripted(Arc<Mutex<io::Result<Vec<u16>>>>);

impl Resolve for Scripted {
    async fn resolve(&self, _: &HostPort) -> io::Result<Vec<HostPort>> {
        match &*self.0.lock().expect("no test panics with it") {
            Ok(ports) => Ok(ports.iter().map(|port| at(*port)).collect()),
            Err(error) => Err(io::Error::other(error.to_string())),
        }
    }
}

fn at(port: u16) -> HostPort {
    HostPort { host: "127.0.0.1".to_owned(), port }
}

/// A pool whose name is looked up every few milliseconds.
fn pool(answer: io::Result<Vec<u16>>) -> (Pool, Arc<Mutex<io::Result<Vec<u16>>>>) {
    let answer = Arc::new(Mutex::new(answer));
    let resolver = Scripted(Arc::clone(&answer));
    let endpoint = Endpoint::from_static("http://replicas:1");
    let every = Duration::from_millis(5);
    (Pool::with(Service::Retriever, Target::Name(at(1)), endpoint, None, every, resolver), answer)
}

fn ports(pool: &Pool) -> Vec<u16> {
    match &*pool.0.known.borrow() {
        Known::Replicas(replicas) => replicas.iter().map(|replica| replica.at.port).collect(),
        _ => Vec::new(),
    }
}

/// Waits for what look-ups bring about sooner or later.
async fn until(mut done: impl FnMut() -> bool) {
    for _ in 0..10_000 {
        if done() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    panic!("it never came about");
}

#[tokio::test]
async fn replicas_that_stay_are_kept_and_those_that_go_are_left() {
    let (pool, answer) = pool(Ok(vec![1, 2]));
    let picked = pool.pick(&[]).await.expect("resolved").expect("two");
    assert_eq!(ports(&pool), [1, 2]);
    let other = pool.pick(&[Arc::clone(picked.replica())]).await.expect("resolved").expect("the other");
    assert!(!Arc::ptr_eq(picked.replica(), other.replica()));
    let both = [Arc::clone(picked.replica()), Arc::clone(other.replica())];
    assert!(pool.pick(&both).await.expect("resolved").is_none(), "it has been to all");

    *answer.lock().expect("alone") = Ok(vec![2, 3]);
    until(|| ports(&pool) == [2, 3]).await;
    let Known::Replicas(now) = pool.0.known.borrow().clone() else { panic!("known") };
    assert_eq!(now.iter().filter(|replica| is_among(replica, &both)).count(), 1, "one of them is the very same");

    assert!(pool.0.failed("away".to_owned()), "what is known stays while the name does not resolve");
    assert_eq!(ports(&pool), [2, 3]);
}

#[tokio::test]
async fn a_name_that_does_not_resolve_is_an_error_until_it_does() {
    let (pool, answer) = pool(Err(io::Error::other("no such name")));
    assert_eq!(&*pool.pick(&[]).await.expect_err("unresolved"), "no such name");
    *answer.lock().expect("alone") = Ok(vec![7]);
    until(|| ports(&pool) == [7]).await;
    assert!(pool.pick(&[]).await.expect("resolved").is_some());
}

#[tokio::test]
async fn a_replica_that_breaks_is_left_out_and_a_new_look_is_asked_for() {
    let (pool, _) = pool(Ok(vec![1, 2]));
    let broken = pool.pick(&[]).await.expect("resolved").expect("two");
    pool.note(&broken, Verdict::Broken);
    for _ in 0..20 {
        let next = pool.pick(&[]).await.expect("resolved").expect("the other");
        assert!(!Arc::ptr_eq(next.replica(), broken.replica()));
        assert!(!pool.has_fit_others(&next), "the other is out");
    }
    assert!(pool.has_fit_others(&broken));
}

#[tokio::test]
async fn when_all_are_broken_one_of_them_is_tried_all_the_same() {
    let (pool, _) = pool(Ok(vec![1, 2]));
    let first = pool.pick(&[]).await.expect("resolved").expect("two");
    let second = pool.pick(&[Arc::clone(first.replica())]).await.expect("resolved").expect("the other");
    pool.note(&first, Verdict::Broken);
    pool.note(&second, Verdict::Broken);
    assert!(!pool.has_fit_others(&first) && !pool.has_fit_others(&second));
    assert!(pool.pick(&[]).await.expect("resolved").is_some());
}

#[tokio::test]
async fn nobody_follows_a_name_that_nobody_uses() {
    let (pool, answer) = pool(Ok(vec![1]));
    pool.pick(&[]).await.expect("resolved");
    drop(pool);
    until(|| Arc::strong_count(&answer) == 1).await;
}
