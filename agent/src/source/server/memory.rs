//! The memory that callers may fill, as their connections see it: they are not read while there is no room, and whoever has to give
//! way for others is told.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use holdfast_core::config::network::Remote;
use holdfast_core::source::frame_pieces::FramePieces;
use holdfast_core::source::memory::{Memory, Room, ShareId};
use smol::Timer;
use smol::io::{AsyncRead, AsyncWrite};
use smol::stream::Stream as _;

use crate::net::{Stream, writes_pass};

/// How long is waited for room before a connection whose message stays incomplete gives way, and then each time again.
const PATIENCE: Duration = Duration::from_secs(2);
/// How often that is done for one that waits, before it is told that there is no room.
const ROUNDS: u32 = 30;
/// Most that is read of the frames of a WebSocket at once.
const READ_BYTES: usize = 8 * 1024;
/// Head of a masked frame at least (RFC 6455 §5.2).
const FRAME_HEAD: usize = 6;
/// What a caller is told that has to go.
pub const USED_UP: &str =
    "the memory for callers is used up (limits.memory): send again later, or less at once";

/// The memory of all callers.
#[derive(Debug)]
pub struct Pool {
    memory: RefCell<Memory>,
    shares: RefCell<BTreeMap<ShareId, Weak<Share>>>,
    waiting: RefCell<Vec<Rc<Share>>>,
}

/// What one connection has of it; given back when it is dropped.
#[derive(Debug)]
pub struct Share {
    pool: Rc<Pool>,
    id: ShareId,
    waker: RefCell<Option<Waker>>,
    /// Among those that are woken when there may be room.
    is_queued: Cell<bool>,
    /// Not read since there is no room.
    is_waiting: Cell<bool>,
    is_ending: Cell<bool>,
    last_read: Cell<usize>,
    /// Bytes behind the last complete message, at most.
    behind: Cell<usize>,
}

/// Why something finds no room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoRoom {
    /// Others need it, or have all of it for long.
    Ended,
    /// There is not so much.
    Never,
}

/// A wait for room.
#[derive(Debug, Default)]
struct Wait {
    timer: Option<Timer>,
    rounds: u32,
}

impl Pool {
    /// So many bytes.
    pub fn new(bytes: usize) -> Rc<Pool> {
        let memory = RefCell::new(Memory::new(bytes));
        Rc::new(Pool { memory, shares: RefCell::default(), waiting: RefCell::default() })
    }

    /// Goes on with another size.
    pub fn resize(&self, bytes: usize) {
        self.memory.borrow_mut().resize(bytes);
        self.wake();
    }

    /// A connection that takes so much by itself; none while there is no room for another one.
    pub fn open(self: &Rc<Pool>, remote: Remote, bytes: usize) -> Option<Rc<Share>> {
        let id = self.memory.borrow_mut().open(remote, bytes)?;
        let share = Rc::new(Share {
            pool: self.clone(),
            id,
            waker: RefCell::default(),
            is_queued: Cell::default(),
            is_waiting: Cell::default(),
            is_ending: Cell::default(),
            last_read: Cell::default(),
            behind: Cell::default(),
        });
        self.shares.borrow_mut().insert(id, Rc::downgrade(&share));
        Some(share)
    }

    /// What is kept without a connection takes so much in place of what it took; false when there is no room.
    pub fn keep(&self, before: usize, bytes: usize) -> bool {
        let fits = self.memory.borrow_mut().keep(before, bytes);
        if bytes < before {
            self.wake();
        }
        fits
    }

    /// Bytes that are taken.
    #[cfg(test)]
    pub fn taken(&self) -> usize {
        self.memory.borrow().taken()
    }

    /// There may be room again.
    fn wake(&self) {
        for share in self.waiting.take() {
            share.is_queued.set(false);
            share.wake();
        }
    }

    /// Has a connection end, if one stands in the way of another.
    fn relieve(&self, waiting: ShareId) {
        let Some(ending) = self.memory.borrow_mut().to_end(waiting) else { return };
        if let Some(share) = self.shares.borrow().get(&ending).and_then(Weak::upgrade) {
            log::debug!("a connection gives way: its message stays incomplete and no memory is left");
            share.is_ending.set(true);
            share.wake();
        }
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.pool.shares.borrow_mut().remove(&self.id);
        self.pool.memory.borrow_mut().close(self.id);
        self.pool.wake();
    }
}

impl Share {
    /// What comes from here on is from this address.
    pub fn belongs_to(&self, remote: Remote) {
        self.pool.memory.borrow_mut().belongs_to(self.id, remote);
    }

    /// Waits for room for so much of a message that is not complete, and takes it.
    pub async fn take(self: &Rc<Share>, bytes: usize) -> Result<(), NoRoom> {
        let mut wait = Wait::default();
        poll_fn(|context| wait.poll(self, context, |memory, id| memory.fits(id, bytes))).await?;
        self.pool.memory.borrow_mut().read(self.id, bytes);
        Ok(())
    }

    /// Waits until the connection has to give way.
    pub async fn ending(&self) {
        poll_fn(|context| match self.is_ending.get() {
            true => Poll::Ready(()),
            false => {
                self.note(context);
                Poll::Pending
            }
        })
        .await;
    }

    /// Whether it is not read, since there is no room.
    pub fn is_waiting(&self) -> bool {
        self.is_waiting.get()
    }

    /// A frame of so many bytes came to its end.
    pub fn frame(&self, bytes: usize, is_message: bool) {
        let behind = self.behind.get().saturating_sub(bytes + FRAME_HEAD);
        // Behind a complete message is nothing but what was read with its end.
        self.behind.set(if is_message { behind.min(self.last_read.get()) } else { behind });
    }

    /// All that was read is complete but the last `rest` bytes, and takes `more` from here on. Returns what [`Share::stored`] gives back.
    pub fn complete_all_but(&self, rest: usize, more: usize) -> usize {
        self.behind.set(rest);
        self.complete(more)
    }

    /// The same where `rest` is of frames: what of the next ones was read is not complete, either.
    pub fn complete_frames_but(&self, rest: usize, more: usize) -> usize {
        self.pool.memory.borrow_mut().complete(self.id, self.behind.get() + rest, more)
    }

    /// The connection takes so much more as long as it is there.
    pub fn hold(&self, bytes: usize) {
        self.pool.memory.borrow_mut().held(self.id, bytes);
    }

    /// What was read up to the last complete message waits from here on to be stored, and takes `more`. Returns what
    /// [`Share::stored`] gives back.
    pub fn complete(&self, more: usize) -> usize {
        self.pool.memory.borrow_mut().complete(self.id, self.behind.get(), more)
    }

    /// So much of it is stored or refused.
    pub fn stored(&self, bytes: usize) {
        self.pool.memory.borrow_mut().stored(self.id, bytes);
        self.pool.wake();
    }

    /// So much of what is not complete is given up.
    pub fn give_up(&self, bytes: usize) {
        self.behind.set(self.behind.get().saturating_sub(bytes));
        self.is_ending.set(false);
        self.is_waiting.set(false);
        self.pool.memory.borrow_mut().given_up(self.id, bytes);
        self.pool.wake();
    }

    /// So much of what was taken is complete, and waits to be stored. It goes back by [`Share::stored`].
    pub fn finish(&self, bytes: usize) {
        self.pool.memory.borrow_mut().finished(self.id, bytes);
    }

    fn read(&self, bytes: usize) {
        self.last_read.set(bytes);
        self.behind.set(self.behind.get() + bytes);
        self.pool.memory.borrow_mut().read(self.id, bytes);
    }

    fn note(&self, context: &Context<'_>) {
        let mut waker = self.waker.borrow_mut();
        if !waker.as_ref().is_some_and(|waker| waker.will_wake(context.waker())) {
            *waker = Some(context.waker().clone());
        }
    }

    fn wake(&self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

impl Wait {
    fn poll(
        &mut self,
        share: &Rc<Share>,
        context: &mut Context<'_>,
        room: impl Fn(&Memory, ShareId) -> Room,
    ) -> Poll<Result<usize, NoRoom>> {
        loop {
            if share.is_ending.get() {
                return Poll::Ready(Err(NoRoom::Ended));
            }
            let found = room(&share.pool.memory.borrow(), share.id);
            match found {
                Room::Now(bytes) => {
                    self.timer = None;
                    self.rounds = 0;
                    share.is_waiting.set(false);
                    return Poll::Ready(Ok(bytes));
                }
                Room::Never => return Poll::Ready(Err(NoRoom::Never)),
                Room::Later if self.rounds == ROUNDS => return Poll::Ready(Err(NoRoom::Ended)),
                Room::Later => {}
            }
            share.is_waiting.set(true);
            share.note(context);
            if !share.is_queued.replace(true) {
                share.pool.waiting.borrow_mut().push(share.clone());
            }
            let timer = self.timer.get_or_insert_with(|| Timer::interval(PATIENCE));
            ready!(Pin::new(timer).poll_next(context));
            self.rounds += 1;
            share.pool.relieve(share.id);
        }
    }
}

/// A connection whose bytes are accounted for.
pub trait Accounted: AsyncRead + AsyncWrite + Unpin {
    /// All that it has given is complete but the last `rest` bytes, and takes `more` from here on. Returns what [`Share::stored`] gives back.
    fn complete(&self, rest: usize, more: usize) -> usize;
}

/// A connection that is read as far as there is room for what comes.
pub struct Metered {
    stream: Stream,
    share: Rc<Share>,
    wait: Wait,
    /// In which what comes is passed on, where it is frames of a WebSocket.
    frames: Option<FramePieces>,
    /// What comes is not kept any more.
    is_over: bool,
}

impl Metered {
    /// The connection of this share.
    pub fn new(stream: Stream, share: Rc<Share>) -> Metered {
        Metered { stream, share, wait: Wait::default(), frames: None, is_over: false }
    }

    /// The same where frames of a WebSocket come, of this size at most. These bytes were read already.
    pub fn of_frames(stream: Stream, share: Rc<Share>, read: &[u8], frame_max: usize) -> Metered {
        share.read(read.len());
        let mut frames = FramePieces::new(frame_max);
        frames.came(read);
        Metered { frames: Some(frames), ..Metered::new(stream, share) }
    }

    fn poll_room(&mut self, context: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        let wanted = buffer.len();
        let room = self.wait.poll(&self.share, context, |memory, id| memory.to_read(id, wanted));
        let Ok(room) = ready!(room) else {
            (self.is_over, self.frames) = (true, None);
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::OutOfMemory, USED_UP)));
        };
        let read = Pin::new(&mut self.stream).poll_read(context, &mut buffer[..room]);
        match &read {
            Poll::Ready(Ok(bytes)) => self.share.read(*bytes),
            Poll::Ready(Err(_)) => {}
            Poll::Pending => self.share.note(context),
        }
        read
    }
}

impl Accounted for Metered {
    fn complete(&self, rest: usize, more: usize) -> usize {
        self.share.complete_all_but(rest, more)
    }
}

impl AsyncRead for Metered {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        if this.is_over {
            return Pin::new(&mut this.stream).poll_read(context, buffer);
        }
        if this.frames.is_none() {
            return this.poll_room(context, buffer);
        }
        loop {
            let given = this.frames.as_mut().map_or(0, |frames| frames.give(buffer));
            if given > 0 {
                return Poll::Ready(Ok(given));
            }
            let mut piece = [0; READ_BYTES];
            match ready!(this.poll_room(context, &mut piece)) {
                Ok(0) => return Poll::Ready(Ok(0)),
                Ok(read) => this.frames.iter_mut().for_each(|frames| frames.came(&piece[..read])),
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }
}

writes_pass!(Metered);
