//! A cross-encoder small enough to be computed by hand, as ONNX bytes.
//!
//! Each token has a weight; those of the document count double. The score is the sum:
//! `logits = sum over tokens of weight(id) * mask * (1 + type)`.

/// The weight of a token of the tiny vocabulary.
pub fn weight(id: usize) -> f32 {
    id as f32 * 0.25 - 2.0
}

/// The graph over a vocabulary of that size.
pub fn onnx(vocabulary: usize) -> Vec<u8> {
    let mut graph = Message::default();
    graph.message(1, &node("Gather", &["weights", "input_ids"], "weight"));
    graph.message(1, &cast("attention_mask", "mask"));
    graph.message(1, &cast("token_type_ids", "type"));
    graph.message(1, &node("Add", &["type", "one"], "factor"));
    graph.message(1, &node("Mul", &["weight", "mask"], "masked"));
    graph.message(1, &node("Mul", &["masked", "factor"], "weighted"));
    graph.message(1, &node("ReduceSum", &["weighted", "axis"], "logits"));
    graph.text(2, "scorer");
    let weights: Vec<u8> = (0..vocabulary).flat_map(|id| weight(id).to_le_bytes()).collect();
    graph.message(5, &tensor("weights", &[vocabulary], 1, &weights));
    graph.message(5, &tensor("one", &[], 1, &1.0f32.to_le_bytes()));
    graph.message(5, &tensor("axis", &[1], 7, &1i64.to_le_bytes()));
    for name in ["input_ids", "attention_mask", "token_type_ids"] {
        graph.message(11, &value(name, 7));
    }
    graph.message(12, &value("logits", 1));
    let mut opset = Message::default();
    opset.number(2, 20);
    let mut model = Message::default();
    model.number(1, 9);
    model.message(7, &graph);
    model.message(8, &opset);
    model.0
}

fn node(op: &str, inputs: &[&str], output: &str) -> Message {
    let mut node = Message::default();
    for input in inputs {
        node.text(1, input);
    }
    node.text(2, output);
    node.text(3, output);
    node.text(4, op);
    node
}

/// Makes numbers of 32 bits of integers.
fn cast(input: &str, output: &str) -> Message {
    let mut attribute = Message::default();
    attribute.text(1, "to");
    attribute.number(3, 1);
    attribute.number(20, 2);
    let mut node = node("Cast", &[input], output);
    node.message(5, &attribute);
    node
}

fn tensor(name: &str, shape: &[usize], data_type: u64, data: &[u8]) -> Message {
    let mut tensor = Message::default();
    for size in shape {
        tensor.number(1, *size as u64);
    }
    tensor.number(2, data_type);
    tensor.text(8, name);
    tensor.bytes(9, data);
    tensor
}

/// An input or output of two axes, texts and tokens.
fn value(name: &str, element: u64) -> Message {
    let mut shape = Message::default();
    for axis in ["texts", "tokens"] {
        let mut dimension = Message::default();
        dimension.text(2, axis);
        shape.message(1, &dimension);
    }
    let mut tensor = Message::default();
    tensor.number(1, element);
    tensor.message(2, &shape);
    let mut kind = Message::default();
    kind.message(1, &tensor);
    let mut value = Message::default();
    value.text(1, name);
    value.message(2, &kind);
    value
}

/// A message of protocol buffers.
#[derive(Default)]
struct Message(Vec<u8>);

impl Message {
    fn number(&mut self, field: u64, number: u64) {
        self.varint(field << 3);
        self.varint(number);
    }

    fn bytes(&mut self, field: u64, bytes: &[u8]) {
        self.varint(field << 3 | 2);
        self.varint(bytes.len() as u64);
        self.0.extend(bytes);
    }

    fn text(&mut self, field: u64, text: &str) {
        self.bytes(field, text.as_bytes());
    }

    fn message(&mut self, field: u64, message: &Self) {
        self.bytes(field, &message.0);
    }

    fn varint(&mut self, mut number: u64) {
        while number > 0x7f {
            self.0.push(number as u8 & 0x7f | 0x80);
            number >>= 7;
        }
        self.0.push(number as u8);
    }
}
