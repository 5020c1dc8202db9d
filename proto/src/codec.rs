//! How messages go to the wire: as tonic's own codec has it, with room for a whole message made before it is written. Without, the
//! buffer doubles while a large message is written, and each time what is there is copied.

use std::marker::PhantomData;

use prost::Message;
use tonic::{
    Status,
    codec::{EncodeBuf, Encoder},
};
use tonic_prost::{ProstCodec, ProstDecoder};

/// Writes `T`, reads `U`.
#[derive(Clone, Debug)]
pub struct Codec<T, U>(PhantomData<(T, U)>);

impl<T, U> Default for Codec<T, U> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<T, U> tonic::codec::Codec for Codec<T, U>
where
    T: Message + Send + 'static,
    U: Message + Default + Send + 'static,
{
    type Encode = T;
    type Decode = U;
    type Encoder = Roomy<T>;
    type Decoder = ProstDecoder<U>;

    fn encoder(&mut self) -> Roomy<T> {
        Roomy(PhantomData)
    }

    fn decoder(&mut self) -> ProstDecoder<U> {
        ProstCodec::<T, U>::new().decoder()
    }
}

/// Makes room, then writes.
#[derive(Clone, Debug)]
pub struct Roomy<T>(PhantomData<T>);

impl<T: Message> Encoder for Roomy<T> {
    type Item = T;
    type Error = Status;

    fn encode(&mut self, item: T, to: &mut EncodeBuf<'_>) -> Result<(), Status> {
        to.reserve(item.encoded_len());
        item.encode(to).map_err(|e| Status::internal(e.to_string()))
    }
}
