//! Reads CBOR that comes seldom: by way of a tree of values. Read directly, each type costs kilobytes of code.

#![allow(clippy::wildcard_enum_match_arm, reason = "the values of serde_cbor are not all known")]

use std::collections::BTreeMap;

use serde::de::value::{MapAccessDeserializer, MapDeserializer, SeqDeserializer};
use serde::de::{DeserializeOwned, Deserializer, Error as _, IntoDeserializer, Visitor};
use serde::forward_to_deserialize_any;
use serde_cbor::{Error, Value};

/// Reads one value. The error says what is wrong with the bytes, or with what they say.
pub fn read<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Error> {
    of_tree(serde_cbor::from_slice(bytes)?)
}

/// Takes a value out of a tree.
pub fn of_tree<T: DeserializeOwned>(tree: Value) -> Result<T, Error> {
    T::deserialize(Tree(tree))
}

/// A tree that is taken apart. ([`serde_cbor::value::from_value`] writes it down and reads that directly.)
struct Tree(Value);

type Members = MapDeserializer<'static, std::vec::IntoIter<(Tree, Tree)>, Error>;

fn members(map: BTreeMap<Value, Value>) -> Members {
    let members: Vec<_> = map.into_iter().map(|(key, value)| (Tree(key), Tree(value))).collect();
    MapDeserializer::new(members.into_iter())
}

impl<'de> Deserializer<'de> for Tree {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.0 {
            Value::Null => visitor.visit_unit(),
            Value::Bool(value) => visitor.visit_bool(value),
            Value::Integer(value) => match (u64::try_from(value), i64::try_from(value)) {
                (Ok(value), _) => visitor.visit_u64(value),
                (Err(_), Ok(value)) => visitor.visit_i64(value),
                (Err(_), Err(_)) => visitor.visit_i128(value),
            },
            Value::Float(value) => visitor.visit_f64(value),
            Value::Bytes(value) => visitor.visit_byte_buf(value),
            Value::Text(value) => visitor.visit_string(value),
            Value::Array(values) => {
                let values: Vec<Tree> = values.into_iter().map(Tree).collect();
                visitor.visit_seq(SeqDeserializer::new(values.into_iter()))
            }
            Value::Map(map) => visitor.visit_map(members(map)),
            _ => Err(Error::custom("a value of a kind that is not known here")),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.0 {
            Value::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    /// A variant without a value is its name, another one a map of its name to its value.
    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        match self.0 {
            Value::Text(name) => visitor.visit_enum(name.into_deserializer()),
            Value::Map(map) if map.len() == 1 => visitor.visit_enum(MapAccessDeserializer::new(members(map))),
            _ => Err(Error::custom("neither the name of a variant nor a map with one")),
        }
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct seq tuple
        tuple_struct map struct identifier ignored_any
    }
}

impl IntoDeserializer<'_, Error> for Tree {
    type Deserializer = Tree;

    fn into_deserializer(self) -> Tree {
        self
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Debug;

    use serde::{Deserialize, Serialize};

    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct All {
        numbers: Vec<(u64, i64, f64)>,
        text: String,
        #[serde(with = "serde_bytes")]
        bytes: Vec<u8>,
        some: Option<Box<All>>,
        kinds: Vec<Kind>,
        map: BTreeMap<u64, bool>,
        wrapped: Wrapped,
        #[serde(default)]
        left_out: u8,
    }

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    enum Kind {
        Unit,
        Newtype(u64),
        Tuple(u64, String),
        Struct { value: Option<u8> },
    }

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Wrapped(u32);

    fn check<T: Serialize + DeserializeOwned + PartialEq + Debug>(value: &T) {
        assert_eq!(&read::<T>(&serde_cbor::to_vec(value).unwrap()).unwrap(), value);
    }

    #[test]
    fn whatever_is_written_is_read_back() {
        let all = |some| All {
            numbers: vec![(u64::MAX, i64::MIN, 1.5), (0, -1, 0.0)],
            text: "é".to_owned(),
            bytes: vec![0, 255],
            some,
            kinds: vec![
                Kind::Unit,
                Kind::Newtype(7),
                Kind::Tuple(1, "x".to_owned()),
                Kind::Struct { value: Some(1) },
                Kind::Struct { value: None },
            ],
            map: BTreeMap::from([(1, true), (u64::MAX, false)]),
            wrapped: Wrapped(9),
            left_out: 0,
        };
        check(&all(Some(Box::new(all(None)))));
        check(&Option::<u8>::None);
    }

    #[test]
    fn what_says_something_else_is_an_error() {
        assert!(read::<Kind>(&serde_cbor::to_vec(&"Other").unwrap()).is_err());
        assert!(read::<Kind>(&serde_cbor::to_vec(&1).unwrap()).is_err());
        assert!(read::<u8>(&serde_cbor::to_vec(&256).unwrap()).is_err());
        assert!(read::<u8>(&[0x1b, 1]).is_err());
    }
}
