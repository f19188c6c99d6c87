//! The few ONNX messages a model of plain operators needs, in the protocol-buffer encoding.
//!
//! Field numbers: `onnx.proto` of <https://github.com/onnx/onnx>; encoding:
//! <https://protobuf.dev/programming-guides/encoding>. Only two wire types occur: whole numbers
//! (varints) and everything else, length first.

/// `TensorProto.DataType`.
const FLOAT: i64 = 1;
const INT64: i64 = 7;

/// A message under way: its encoded fields, in any order.
#[derive(Clone, Debug, Default)]
pub(super) struct Message(Vec<u8>);

/// Value of an attribute.
pub(super) enum Attribute<'a> {
    Int(i64),
    Ints(Vec<i64>),
    Text(&'a str),
}

impl Message {
    /// Seven bits a byte, the lowest first; the top bit says that more follow.
    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push((value & 0x7f) as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    /// With a whole number; negative ones take ten bytes, in two's complement.
    pub(super) fn int(mut self, field: u64, value: i64) -> Self {
        self.varint(field << 3);
        self.varint(value.cast_unsigned());
        self
    }

    /// With bytes: a text, raw data or a message inside.
    pub(super) fn bytes(mut self, field: u64, value: impl AsRef<[u8]>) -> Self {
        let value = value.as_ref();
        self.varint(field << 3 | 2);
        self.varint(value.len() as u64);
        self.0.extend_from_slice(value);
        self
    }

    /// The encoded bytes.
    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.0
    }
}

impl AsRef<[u8]> for Message {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

/// `NodeProto`, named after its first output.
pub(super) fn node(
    op: &str,
    inputs: &[&str],
    outputs: &[String],
    attributes: &[(&str, Attribute)],
) -> Message {
    let mut node = Message::default();
    for input in inputs {
        node = node.bytes(1, input);
    }
    for output in outputs {
        node = node.bytes(2, output);
    }
    node = node.bytes(3, &outputs[0]).bytes(4, op);
    for (name, value) in attributes {
        let attribute = Message::default().bytes(1, name);
        // field 20 is `AttributeProto.AttributeType`
        let attribute = match value {
            Attribute::Int(value) => attribute.int(3, *value).int(20, 2),
            Attribute::Text(value) => attribute.bytes(4, value).int(20, 3),
            Attribute::Ints(values) => {
                let each = |message: Message, value: &i64| message.int(8, *value);
                values.iter().fold(attribute, each).int(20, 7)
            }
        };
        node = node.bytes(5, attribute);
    }
    node
}

/// `TensorProto` of f32 values in C order.
pub(super) fn floats(name: &str, dims: &[usize], values: &[f32]) -> Message {
    let data: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
    tensor(name, dims, FLOAT, &data)
}

/// `TensorProto` of a list of whole numbers.
pub(super) fn ints(name: &str, values: &[i64]) -> Message {
    let data: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
    tensor(name, &[values.len()], INT64, &data)
}

fn tensor(name: &str, dims: &[usize], kind: i64, data: &[u8]) -> Message {
    let each = |message: Message, dim: &usize| message.int(1, *dim as i64);
    let tensor = dims.iter().fold(Message::default(), each);
    tensor.int(2, kind).bytes(8, name).bytes(9, data)
}

/// `ValueInfoProto` of f32 maps (N, channels, H, W), all but the channels free.
pub(super) fn maps(name: &str, channels: usize, doc: &str) -> Message {
    let free = |letter: &str| Message::default().bytes(2, letter);
    let channels = Message::default().int(1, channels as i64);
    let dims = [free("N"), channels, free("H"), free("W")];
    let shape = dims
        .iter()
        .fold(Message::default(), |m, dim| m.bytes(1, dim));
    let kind = Message::default().int(1, FLOAT).bytes(2, shape);
    let kind = Message::default().bytes(1, kind);
    Message::default()
        .bytes(1, name)
        .bytes(2, kind)
        .bytes(3, doc)
}

/// `ModelProto` of a graph.
pub(super) fn model(graph: Message, ir_version: i64, opset: i64) -> Message {
    let opset = Message::default().bytes(1, "").int(2, opset);
    let producer = Message::default().int(1, ir_version).bytes(2, "certiseg");
    let producer = producer.bytes(3, env!("CARGO_PKG_VERSION"));
    producer.bytes(7, graph).bytes(8, opset)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_bytes_are_encoded_as_the_public_examples() {
        // the examples 150 and "testing" of the encoding guide
        let message = Message::default().int(1, 150).bytes(2, "testing");
        let expected = [&[0x08, 0x96, 0x01, 0x12, 0x07][..], b"testing"].concat();
        assert_eq!(message.into_bytes(), expected);
        // and -2 of the same guide: ten bytes
        let message = Message::default().int(1, -2).into_bytes();
        let expected = [&[0x08, 0xfe][..], &[0xff; 8], &[0x01]].concat();
        assert_eq!(message, expected);
    }

    #[test]
    fn a_field_number_over_fifteen_takes_two_bytes() {
        assert_eq!(Message::default().int(20, 7).into_bytes(), [0xa0, 0x01, 7]);
    }

    #[test]
    fn a_tensor_is_its_dims_type_name_and_raw_bytes() {
        let expected = [
            &[8, 2, 16, 1, 0x42, 1, b'a', 0x4a, 8][..],
            &1f32.to_le_bytes(),
        ];
        let expected = [&expected.concat()[..], &(-2f32).to_le_bytes()].concat();
        assert_eq!(floats("a", &[2], &[1.0, -2.0]).into_bytes(), expected);
    }
}
