//! Numbers that name something. Each kind is a type of its own, so that none stands for another by mistake; what is kept by such a
//! number is a [`Table`].

use std::fmt;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut, Index, IndexMut};

use serde::{Deserialize, Serialize};

/// Makes types of numbers that name a row of a table.
macro_rules! rows {
    ($($(#[$doc:meta])* $name:ident,)+) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub usize);

        impl Row for $name {
            fn at(index: usize) -> Self {
                $name(index)
            }

            fn index(self) -> usize {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    )+};
}

rows! {
    /// A link of the agent: the same for all of its life, also when the configuration has it no more.
    LinkId,
    /// An outlet of the agent and its place in the store: the same for all of a run.
    OutletId,
    /// One of the urls of a link, in the order of its configuration.
    EndpointId,
}

impl EndpointId {
    /// The one that is used unless something is wrong with it.
    pub const FIRST: EndpointId = EndpointId(0);
}

/// Makes types of numbers that are given one after the other.
macro_rules! counted {
    ($($(#[$doc:meta])* $name:ident,)+) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub u64);

        impl $name {
            /// The next one.
            pub fn next(self) -> Self {
                $name(self.0 + 1)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    )+};
}

counted! {
    /// A connection of a link, or the try to make one: what an earlier one reports is known by it. A link begins with 0, when there
    /// has been none.
    ConnectionId,
    /// Something that is to be answered.
    RequestId,
}

/// A number that names a row of a table.
pub trait Row: Copy {
    /// The one of this row.
    fn at(index: usize) -> Self;

    /// Its row.
    fn index(self) -> usize;
}

/// Rows that are named by numbers of their own, from 0.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table<I, T> {
    rows: Vec<T>,
    named: PhantomData<I>,
}

impl<I: Row, T> Table<I, T> {
    /// Adds a row behind the others.
    pub fn push(&mut self, row: T) {
        self.rows.push(row);
    }

    /// The row of this number, if there is one.
    pub fn find(&self, id: I) -> Option<&T> {
        self.rows.get(id.index())
    }

    /// The numbers of all rows there are at this moment.
    pub fn ids(&self) -> impl DoubleEndedIterator<Item = I> + use<I, T> {
        (0..self.rows.len()).map(I::at)
    }

    /// All rows with their numbers.
    pub fn pairs(&self) -> impl DoubleEndedIterator<Item = (I, &T)> {
        self.rows.iter().enumerate().map(|(index, row)| (I::at(index), row))
    }

    /// All rows with their numbers, to change them.
    pub fn pairs_mut(&mut self) -> impl DoubleEndedIterator<Item = (I, &mut T)> {
        self.rows.iter_mut().enumerate().map(|(index, row)| (I::at(index), row))
    }

    /// The number of the first row that is such.
    pub fn first(&self, is_such: impl Fn(&T) -> bool) -> Option<I> {
        self.rows.iter().position(is_such).map(I::at)
    }
}

impl<I, T> IntoIterator for Table<I, T> {
    type Item = T;
    type IntoIter = std::vec::IntoIter<T>;

    fn into_iter(self) -> Self::IntoIter {
        self.rows.into_iter()
    }
}

impl<I, T> Default for Table<I, T> {
    fn default() -> Self {
        Vec::new().into()
    }
}

impl<I, T> From<Vec<T>> for Table<I, T> {
    fn from(rows: Vec<T>) -> Self {
        Table { rows, named: PhantomData }
    }
}

impl<I, T> FromIterator<T> for Table<I, T> {
    fn from_iter<A: IntoIterator<Item = T>>(rows: A) -> Self {
        rows.into_iter().collect::<Vec<T>>().into()
    }
}

impl<I: Row, T> Index<I> for Table<I, T> {
    type Output = T;

    fn index(&self, id: I) -> &T {
        &self.rows[id.index()]
    }
}

impl<I: Row, T> IndexMut<I> for Table<I, T> {
    fn index_mut(&mut self, id: I) -> &mut T {
        &mut self.rows[id.index()]
    }
}

/// The rows without their numbers.
impl<I, T> Deref for Table<I, T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.rows
    }
}

impl<I, T> DerefMut for Table<I, T> {
    fn deref_mut(&mut self) -> &mut [T] {
        &mut self.rows
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_found_by_its_number_and_by_nothing_else() {
        let mut table: Table<LinkId, &str> = ["a", "b"].into_iter().collect();
        table.push("c");
        assert_eq!((table[LinkId(2)], table.find(LinkId(3))), ("c", None));
        assert_eq!(table.first(|row| *row == "b"), Some(LinkId(1)));
        assert_eq!(table.ids().next_back(), Some(LinkId(2)));
        assert_eq!(table.pairs().map(|(id, row)| format!("{id}{row}")).collect::<String>(), "0a1b2c");
    }
}
