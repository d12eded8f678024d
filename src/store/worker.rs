//! The threads that own a part of the store, and the asynchronous handle to them.
//!
//! The store is synchronous, and waits: for the disk, and for other processes. Asynchronous code never calls it, but sends
//! jobs to a thread that does.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use tokio::sync::mpsc::error::{TryRecvError, TrySendError};
use tokio::sync::{mpsc, oneshot};

use crate::error::{Error, ErrorKind, Result};

/// The capacity of the queue; sending another job waits for room.
const QUEUE: usize = 4096;

/// What a worker's thread does.
pub trait Work<J>: Send + 'static {
    /// What is worked on at once.
    type Batch;

    /// Takes a job, and with it as many of those that wait as share its work.
    fn gather(&mut self, job: J, waiting: &mut mpsc::Receiver<J>) -> Self::Batch;

    /// Does what was gathered. Other threads of the worker gather meanwhile.
    fn work(&mut self, batch: Self::Batch);

    /// Does a piece of what can wait, while no job does. Returns whether there is more.
    fn idle(&mut self) -> bool {
        false
    }
}

/// The handle to a worker. The thread ends when the last handle is dropped and all jobs are done.
pub struct Worker<J> {
    jobs: mpsc::Sender<J>,
}

impl<J> Clone for Worker<J> {
    fn clone(&self) -> Self {
        Self { jobs: self.jobs.clone() }
    }
}

/// How a job's result comes back.
pub type Reply<T> = oneshot::Sender<T>;

impl<J: Send + 'static> Worker<J> {
    /// Starts the thread.
    ///
    /// # Errors
    /// When no thread can be started.
    pub fn start(name: &str, work: impl Work<J>) -> io::Result<(Self, JoinHandle<()>)> {
        let (worker, mut threads) = Self::start_all(name, vec![work])?;
        let thread = threads.pop().ok_or(io::ErrorKind::Other)?;
        Ok((worker, thread))
    }

    /// Starts a thread for each of these, which share the jobs: while one works on a batch, another gathers the next.
    ///
    /// # Errors
    /// When a thread cannot be started.
    pub fn start_all<W: Work<J>>(name: &str, works: Vec<W>) -> io::Result<(Self, Vec<JoinHandle<()>>)> {
        let (jobs, queue) = mpsc::channel(QUEUE);
        let queue = Arc::new(Mutex::new(queue));
        let start = |mut work: W| {
            let (log, queue) = (tracing::dispatcher::get_default(Clone::clone), Arc::clone(&queue));
            let run = move || tracing::dispatcher::with_default(&log, || run(&mut work, &queue));
            std::thread::Builder::new().name(name.to_owned()).spawn(run)
        };
        let threads = works.into_iter().map(start).collect::<io::Result<_>>()?;
        Ok((Self { jobs }, threads))
    }

    /// A handle without a thread, and its queue with this capacity.
    #[cfg(test)]
    pub(crate) fn idle(places: usize) -> (Self, mpsc::Receiver<J>) {
        let (jobs, queue) = mpsc::channel(places);
        (Self { jobs }, queue)
    }

    /// Sends a job, and waits for its result.
    ///
    /// # Errors
    /// When the worker has ended, or the job panicked.
    pub async fn ask<T>(&self, job: impl FnOnce(Reply<T>) -> J) -> Result<T> {
        let (reply, answer) = oneshot::channel();
        self.jobs.send(job(reply)).await.map_err(|_| ended())?;
        answer.await.map_err(|_| ended())
    }

    /// Sends a job if there is room in the queue; else gives it back.
    ///
    /// # Errors
    /// When the worker has ended.
    pub fn send_now(&self, job: J) -> Result<Option<J>> {
        match self.jobs.try_send(job) {
            Ok(()) => Ok(None),
            Err(TrySendError::Full(job)) => Ok(Some(job)),
            Err(TrySendError::Closed(_)) => Err(ended()),
        }
    }

    /// Sends a job when there is room in the queue.
    ///
    /// # Errors
    /// When the worker has ended.
    pub async fn send(&self, job: J) -> Result<()> {
        self.jobs.send(job).await.map_err(|_| ended())
    }
}

/// The error of waiting for a worker that has ended.
pub fn ended() -> Error {
    Error::new(ErrorKind::Store, "the store's thread has ended")
}

fn run<J, W: Work<J>>(work: &mut W, queue: &Mutex<mpsc::Receiver<J>>) {
    let mut has_more = false;
    loop {
        // A bug in one job must not end the thread. Its transaction is rolled back, and whoever waits is told.
        let done = catch_unwind(AssertUnwindSafe(|| match next(work, queue, has_more) {
            Ok(batch) => {
                work.work(batch);
                Some(true)
            }
            Err(TryRecvError::Empty) => Some(work.idle()),
            Err(TryRecvError::Disconnected) => None,
        }));
        match done {
            Ok(Some(more)) => has_more = more,
            Ok(None) => return,
            Err(_) => {
                tracing::error!("a job of the store failed: this is a bug");
                has_more = false;
            }
        }
    }
}

/// The next batch. One thread waits for it at a time, and the others for that one.
fn next<J, W: Work<J>>(
    work: &mut W,
    queue: &Mutex<mpsc::Receiver<J>>,
    has_other_work: bool,
) -> Result<W::Batch, TryRecvError> {
    let mut queue = queue.lock().unwrap_or_else(PoisonError::into_inner);
    let job = if has_other_work { queue.try_recv() } else { queue.blocking_recv().ok_or(TryRecvError::Disconnected) };
    Ok(work.gather(job?, &mut queue))
}

/// A job for a part of the store that does one thing at a time.
pub type StoreJob<S> = Box<dyn FnOnce(&mut S) + Send>;

struct OneByOne<S: ?Sized>(Box<S>);

impl<S: ?Sized + Send + 'static> Work<StoreJob<S>> for OneByOne<S> {
    type Batch = StoreJob<S>;

    fn gather(&mut self, job: StoreJob<S>, _: &mut mpsc::Receiver<StoreJob<S>>) -> StoreJob<S> {
        job
    }

    fn work(&mut self, job: StoreJob<S>) {
        job(&mut self.0);
    }
}

/// A part of the store behind a thread of its own, such as a `StoreWorker<dyn Inbox>`.
pub struct StoreWorker<S: ?Sized + 'static> {
    worker: Worker<StoreJob<S>>,
}

impl<S: ?Sized + 'static> Clone for StoreWorker<S> {
    fn clone(&self) -> Self {
        Self { worker: self.worker.clone() }
    }
}

impl<S: ?Sized + Send + 'static> StoreWorker<S> {
    /// Starts the thread. It ends, and closes the store, when the last handle is dropped and all jobs are done: whoever
    /// wants the store closed joins it then.
    ///
    /// # Errors
    /// When no thread can be started.
    pub fn start(name: &str, store: Box<S>) -> Result<(Self, JoinHandle<()>)> {
        let (worker, thread) = Worker::start(name, OneByOne(store))?;
        Ok((Self { worker }, thread))
    }

    /// Does this with the store, and waits for its result. What was begun is done even if nobody waits any longer.
    ///
    /// # Errors
    /// The job's own, or when it panicked.
    pub async fn run<T, E>(&self, job: impl FnOnce(&mut S) -> Result<T, E> + Send + 'static) -> Result<T>
    where
        T: Send + 'static,
        E: Into<Error> + Send + 'static,
    {
        let run = |reply: Reply<Result<T, E>>| -> StoreJob<S> { Box::new(move |store| drop(reply.send(job(store)))) };
        self.worker.ask(run).await?.map_err(Into::into)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn jobs_are_done_in_order_and_a_bug_ends_one_job_only() {
        let (worker, thread) = StoreWorker::start("counter", Box::new(Vec::<u32>::new())).unwrap();
        let push = |number| {
            worker.run(move |numbers: &mut Vec<u32>| {
                numbers.push(number);
                Ok::<_, Error>(numbers.clone())
            })
        };
        assert_eq!((push(1).await.unwrap(), push(2).await.unwrap()), (vec![1], vec![1, 2]));
        let bug = worker.run(|numbers: &mut Vec<u32>| Ok::<_, Error>(numbers.remove(9)));
        assert_eq!(bug.await.unwrap_err().kind(), ErrorKind::Store);
        assert_eq!(push(3).await.unwrap(), [1, 2, 3]);
        drop(worker);
        thread.join().unwrap();
    }
}
