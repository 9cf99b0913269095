//! What came over a socket and was not handled yet: bounded, with a declared way to overflow.
//!
//! Whatever is dropped makes a gap, which the plugin is told at the place where the dropped messages would have stood. One
//! gap that waits stands for all: by the time it is handled, everything before that is past.

use std::collections::VecDeque;

use crate::policy::socket::Overflow;

/// Something to hand to the plugin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Item {
    /// A message.
    Message(Vec<u8>),
    /// Something may be missing.
    Gap,
}

/// An item, and of which opening of the socket it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Queued {
    pub(super) item: Item,
    pub(super) opening: u64,
    /// Its number among all of that opening.
    pub(super) number: u64,
}

/// The queue of one socket. Empty, it takes no memory beyond itself.
#[derive(Debug)]
pub(super) struct Queue {
    items: VecDeque<Queued>,
    has_gap: bool,
    bytes: u64,
    messages: u64,
    messages_max: u64,
    bytes_max: u64,
    overflow: Overflow,
}

/// Whether a message found room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Put {
    /// It did.
    Kept,
    /// So many were dropped, this one or others.
    Dropped(u64),
    /// It did not, and the socket is to be closed for it.
    Reconnect,
}

impl Queue {
    pub(super) fn new(messages_max: u64, bytes_max: u64, overflow: Overflow) -> Self {
        Self { items: VecDeque::new(), has_gap: false, bytes: 0, messages: 0, messages_max, bytes_max, overflow }
    }

    /// Takes a message in, if need be in another's place.
    pub(super) fn put(&mut self, message: Vec<u8>, opening: u64, number: u64) -> Put {
        let bytes = message.len() as u64;
        let mut dropped = 0;
        while self.messages >= self.messages_max || self.bytes.saturating_add(bytes) > self.bytes_max {
            let is_first = self.messages == 0;
            match self.overflow {
                Overflow::Reconnect => return Put::Reconnect,
                Overflow::DropOldest if !is_first => dropped += self.drop_oldest(),
                Overflow::DropOldest | Overflow::DropNewest => {
                    self.gap(opening, number);
                    return Put::Dropped(dropped + 1);
                }
            }
        }
        self.messages += 1;
        self.bytes += bytes;
        self.items.push_back(Queued { item: Item::Message(message), opening, number });
        if dropped == 0 { Put::Kept } else { Put::Dropped(dropped) }
    }

    /// Notes at the end that something may be missing. A gap that waits stands for it too, and is of this opening from now
    /// on: what is answered to it leaves there.
    pub(super) fn gap(&mut self, opening: u64, number: u64) {
        if !std::mem::replace(&mut self.has_gap, true) {
            self.items.push_back(Queued { item: Item::Gap, opening, number });
        } else if let Some(gap) = self.items.iter_mut().rev().find(|queued| queued.item == Item::Gap) {
            gap.opening = gap.opening.max(opening);
        }
    }

    /// The next to be handled.
    pub(super) fn pop(&mut self) -> Option<Queued> {
        let next = self.items.pop_front()?;
        match &next.item {
            Item::Message(message) => {
                self.messages -= 1;
                self.bytes -= message.len() as u64;
            }
            Item::Gap => self.has_gap = false,
        }
        if self.items.is_empty() {
            // A burst that is over holds no memory.
            self.items = VecDeque::new();
        }
        Some(next)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Drops the first message, and leaves a gap at its place.
    fn drop_oldest(&mut self) -> u64 {
        let Some(at) = self.items.iter().position(|queued| queued.item != Item::Gap) else { return 0 };
        let Some(oldest) = self.items.remove(at) else { return 0 };
        if let Item::Message(message) = &oldest.item {
            self.messages -= 1;
            self.bytes -= message.len() as u64;
        }
        if !std::mem::replace(&mut self.has_gap, true) {
            self.items.insert(at, Queued { item: Item::Gap, ..oldest });
        }
        1
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn all(queue: &mut Queue) -> Vec<String> {
        let mut all = Vec::new();
        while let Some(next) = queue.pop() {
            all.push(match next.item {
                Item::Message(message) => String::from_utf8(message).unwrap(),
                Item::Gap => "gap".to_owned(),
            });
        }
        assert_eq!((queue.bytes, queue.messages), (0, 0));
        all
    }

    fn filled(overflow: Overflow, messages: &[&str]) -> (Vec<Put>, Vec<String>) {
        let mut queue = Queue::new(3, 10, overflow);
        let puts = messages.iter().zip(0..).map(|(message, number)| queue.put(message.as_bytes().to_vec(), 1, number));
        let puts = puts.collect();
        (puts, all(&mut queue))
    }

    #[test]
    fn overflows_as_declared_and_says_where_something_is_missing() {
        let messages = ["a", "b", "c", "d", "e"];
        let (puts, left) = filled(Overflow::DropOldest, &messages);
        assert_eq!(left, ["gap", "c", "d", "e"]);
        assert_eq!(puts[3..], [Put::Dropped(1), Put::Dropped(1)]);
        let (puts, left) = filled(Overflow::DropNewest, &messages);
        assert_eq!(left, ["a", "b", "c", "gap"]);
        assert_eq!(puts[3..], [Put::Dropped(1), Put::Dropped(1)]);
        let (puts, left) = filled(Overflow::Reconnect, &messages);
        assert_eq!(left, ["a", "b", "c"]);
        assert_eq!(puts[3..], [Put::Reconnect, Put::Reconnect]);
    }

    #[test]
    fn bytes_count_as_well() {
        let (puts, left) = filled(Overflow::DropOldest, &["aaaa", "bbbb", "cccc"]);
        assert_eq!((puts[2], left), (Put::Dropped(1), vec!["gap".to_owned(), "bbbb".to_owned(), "cccc".to_owned()]));
        let (puts, left) = filled(Overflow::DropOldest, &["a", "more than ten bytes"]);
        assert_eq!((puts[1], left), (Put::Dropped(2), vec!["gap".to_owned()]));
    }

    #[test]
    fn one_gap_stands_for_all() {
        let mut queue = Queue::new(3, 10, Overflow::DropNewest);
        queue.gap(1, 0);
        queue.put(b"a".to_vec(), 1, 1);
        queue.gap(2, 0);
        queue.gap(1, 0);
        assert_eq!(queue.items[0].opening, 2, "what is answered to it leaves nowhere");
        assert_eq!(all(&mut queue), ["gap", "a"]);
    }

    proptest! {
        /// Whatever comes, the bounds hold, order stays, and what is missing is said.
        #[test]
        fn stays_within_its_bounds(sizes in proptest::collection::vec(0usize..8, 0..60), oldest: bool, pops in 0usize..3) {
            let overflow = if oldest { Overflow::DropOldest } else { Overflow::DropNewest };
            let mut queue = Queue::new(4, 16, overflow);
            let (mut dropped, mut seen, mut gaps) = (0, Vec::new(), 0);
            for (number, size) in sizes.iter().enumerate() {
                if let Put::Dropped(more) = queue.put(vec![0; *size], 1, number as u64) {
                    dropped += more;
                }
                prop_assert!(queue.messages <= 4 && queue.bytes <= 16 && queue.items.len() <= 5);
                for _ in 0..pops * (number % 2) {
                    match queue.pop() {
                        Some(Queued { item: Item::Message(_), number, .. }) => seen.push(number),
                        Some(_) => gaps += 1,
                        None => {}
                    }
                }
            }
            while let Some(next) = queue.pop() {
                match next.item {
                    Item::Message(_) => seen.push(next.number),
                    Item::Gap => gaps += 1,
                }
            }
            prop_assert!(seen.is_sorted());
            prop_assert_eq!(seen.len() as u64 + dropped, sizes.len() as u64);
            prop_assert_eq!(dropped > 0, gaps > 0);
        }
    }
}
