//! Serialization of an open model: its fields, without a `null` for fields not received, then the unknown fields.

use std::fmt::Display;

use serde::ser::{Error as _, Impossible, SerializeMap, SerializeStruct};
use serde::{Serialize, Serializer};

use super::ReceivedFields;

/// Writes a struct as the map that it was read from.
pub(super) struct OpenSerializer<'r, S> {
    pub(super) to: S,
    pub(super) received: &'r ReceivedFields,
}

/// The map of an open model while it is written.
pub(super) struct OpenMap<'r, M> {
    map: M,
    received: &'r ReceivedFields,
    /// The number of known fields written so far in the model's order.
    position: usize,
}

impl<M> OpenMap<'_, M> {
    fn is_known(&mut self, name: &str) -> bool {
        let is_next = self.received.known.get(self.position).is_some_and(|known| *known == name);
        self.position += usize::from(is_next);
        is_next || self.received.known.contains(&name)
    }
}

impl<M: SerializeMap> SerializeStruct for OpenMap<'_, M> {
    type Ok = M::Ok;
    type Error = M::Error;

    fn serialize_field<T: Serialize + ?Sized>(
        &mut self,
        name: &'static str,
        value: &T,
    ) -> Result<(), M::Error> {
        if self.is_known(name) || value.serialize(Null).is_err() {
            self.map.serialize_entry(name, value)?;
        }
        Ok(())
    }

    fn end(mut self) -> Result<M::Ok, M::Error> {
        for (name, value) in &self.received.unknown {
            self.map.serialize_entry(name, value)?;
        }
        self.map.end()
    }
}

/// A serializer that takes `null` only and does not look into other values.
struct Null;

/// A value that is not `null`.
#[derive(Debug, thiserror::Error)]
#[error("not null")]
struct NotNull;

impl serde::ser::Error for NotNull {
    fn custom<T: Display>(_: T) -> Self {
        NotNull
    }
}

/// Serializer methods with the same result for every argument.
macro_rules! end_in {
    ($end:expr => $($method:ident($($argument:ty),*) -> $ok:ty;)+) => {
        $(fn $method(self, $(_: $argument),*) -> Result<$ok, Self::Error> { $end })+
    };
}

/// The methods for values that are neither a struct nor absent.
macro_rules! end_others_in {
    ($end:expr) => {
        end_in! { $end =>
            serialize_bool(bool) -> Self::Ok;
            serialize_i8(i8) -> Self::Ok;
            serialize_i16(i16) -> Self::Ok;
            serialize_i32(i32) -> Self::Ok;
            serialize_i64(i64) -> Self::Ok;
            serialize_u8(u8) -> Self::Ok;
            serialize_u16(u16) -> Self::Ok;
            serialize_u32(u32) -> Self::Ok;
            serialize_u64(u64) -> Self::Ok;
            serialize_f32(f32) -> Self::Ok;
            serialize_f64(f64) -> Self::Ok;
            serialize_char(char) -> Self::Ok;
            serialize_str(&str) -> Self::Ok;
            serialize_bytes(&[u8]) -> Self::Ok;
            serialize_unit_variant(&'static str, u32, &'static str) -> Self::Ok;
            serialize_seq(Option<usize>) -> Self::SerializeSeq;
            serialize_tuple(usize) -> Self::SerializeTuple;
            serialize_tuple_struct(&'static str, usize) -> Self::SerializeTupleStruct;
            serialize_tuple_variant(&'static str, u32, &'static str, usize) -> Self::SerializeTupleVariant;
            serialize_map(Option<usize>) -> Self::SerializeMap;
            serialize_struct_variant(&'static str, u32, &'static str, usize) -> Self::SerializeStructVariant;
        }

        fn serialize_newtype_variant<T: Serialize + ?Sized>(
            self,
            _: &'static str,
            _: u32,
            _: &'static str,
            _: &T,
        ) -> Result<Self::Ok, Self::Error> {
            $end
        }
    };
}

impl<'r, S: Serializer> Serializer for OpenSerializer<'r, S> {
    type Ok = S::Ok;
    type Error = S::Error;
    type SerializeSeq = Impossible<S::Ok, S::Error>;
    type SerializeTuple = Impossible<S::Ok, S::Error>;
    type SerializeTupleStruct = Impossible<S::Ok, S::Error>;
    type SerializeTupleVariant = Impossible<S::Ok, S::Error>;
    type SerializeMap = Impossible<S::Ok, S::Error>;
    type SerializeStruct = OpenMap<'r, S::SerializeMap>;
    type SerializeStructVariant = Impossible<S::Ok, S::Error>;

    end_others_in!(Err(S::Error::custom("a model that is read as a struct is written as one")));
    end_in! { Err(S::Error::custom("a model that is read as a struct is written as one")) =>
        serialize_none() -> S::Ok;
        serialize_unit() -> S::Ok;
        serialize_unit_struct(&'static str) -> S::Ok;
    }

    fn serialize_struct(
        self,
        _: &'static str,
        _: usize,
    ) -> Result<OpenMap<'r, S::SerializeMap>, S::Error> {
        Ok(OpenMap { map: self.to.serialize_map(None)?, received: self.received, position: 0 })
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<S::Ok, S::Error> {
        value.serialize(self)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        value: &T,
    ) -> Result<S::Ok, S::Error> {
        value.serialize(self)
    }
}

impl Serializer for Null {
    type Ok = ();
    type Error = NotNull;
    type SerializeSeq = Impossible<(), NotNull>;
    type SerializeTuple = Impossible<(), NotNull>;
    type SerializeTupleStruct = Impossible<(), NotNull>;
    type SerializeTupleVariant = Impossible<(), NotNull>;
    type SerializeMap = Impossible<(), NotNull>;
    type SerializeStruct = Impossible<(), NotNull>;
    type SerializeStructVariant = Impossible<(), NotNull>;

    end_others_in!(Err(NotNull));
    end_in! { Err(NotNull) =>
        serialize_struct(&'static str, usize) -> Self::SerializeStruct;
    }
    end_in! { Ok(()) =>
        serialize_none() -> ();
        serialize_unit() -> ();
        serialize_unit_struct(&'static str) -> ();
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), NotNull> {
        value.serialize(self)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        value: &T,
    ) -> Result<(), NotNull> {
        value.serialize(self)
    }
}
