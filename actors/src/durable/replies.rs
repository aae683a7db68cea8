//! Answers on their way from the actors of one thread to whoever asked on another.
//!
//! To wake another thread costs a call of the system and, on a busy machine, the processor. So answers are kept until the
//! actors that are ready now have had their turn, and then go out together: the first wakes the other thread, which finds
//! the rest.
//!
//! Not responsible for what is answered, nor when it may be: what is handed in here is durable.
//!
//! Invariant: what was handed in is sent by this thread without waiting for anything, also when its actor dies meanwhile.

use std::cell::RefCell;
use std::rc::Rc;

use tokio::sync::oneshot;

type Waiting<A> = Vec<(oneshot::Sender<A>, A)>;

/// The answers of one thread.
#[derive(Debug)]
pub(super) struct Replies<A>(Rc<RefCell<Waiting<A>>>);

impl<A> Default for Replies<A> {
    fn default() -> Self {
        Self(Rc::default())
    }
}

impl<A> Clone for Replies<A> {
    fn clone(&self) -> Self {
        Self(Rc::clone(&self.0))
    }
}

impl<A: 'static> Replies<A> {
    /// Sends `answer`, behind what the thread has to do now.
    ///
    /// # Panics
    /// Outside of a [`tokio::task::LocalSet`], which every arbiter is.
    pub(super) fn send(&self, to: oneshot::Sender<A>, answer: A) {
        let mut waiting = self.0.borrow_mut();
        waiting.push((to, answer));
        if waiting.len() == 1 {
            let all = Rc::clone(&self.0);
            tokio::task::spawn_local(async move {
                let all = all.take();
                for (to, answer) in all {
                    // Whoever asked may be gone; the event is applied all the same.
                    drop(to.send(answer));
                }
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use tokio::task::{LocalSet, spawn_local};

    use super::*;

    #[tokio::test]
    async fn answers_go_out_together_behind_what_is_ready() {
        LocalSet::new().run_until(check()).await;
    }

    async fn check() {
        let replies = Replies::default();
        let order = Rc::new(Cell::new(0));
        let step = |expected: i32| {
            let order = Rc::clone(&order);
            async move {
                assert_eq!(order.replace(order.get() + 1), expected);
            }
        };
        let (first, answered_first) = oneshot::channel();
        let (second, answered_second) = oneshot::channel();
        let ready = spawn_local(step(0));
        replies.send(first, 1);
        replies.send(second, 2);
        let heard = spawn_local({
            let step = step(1);
            async move {
                let heard = (answered_first.await, answered_second.await);
                step.await;
                heard
            }
        });
        assert_eq!(heard.await.unwrap(), (Ok(1), Ok(2)));
        ready.await.unwrap();
        // The next ones go out as well, and one whom nobody hears is no harm.
        let (third, answered) = oneshot::channel();
        let (unheard, _) = oneshot::channel();
        replies.send(unheard, 0);
        replies.send(third, 3);
        assert_eq!(answered.await, Ok(3));
    }
}
