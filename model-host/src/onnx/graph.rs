//! Puts an ONNX graph together node by node.

use super::proto::{
    AttributeProto, DimensionProto, FLOAT, GraphProto, INT8, INT64, ModelProto, NodeProto, OperatorSetIdProto,
    TensorProto, TensorShapeProto, TensorTypeProto, TypeProto, ValueInfoProto,
};

/// Version 9 of the file format is the one that belongs to operator set 20.
const IR_VERSION: i64 = 9;
/// The first standard operator set with `Gelu`; `LayerNormalization` came with 17.
const OPSET_VERSION: i64 = 20;

/// The name of a value in a graph that is being built.
#[derive(Clone, Debug)]
pub(super) struct Value(String);

/// A size in the declared shape of an input or output.
pub(super) enum Dimension {
    Fixed(usize),
    Named(&'static str),
}

/// An attribute of a node.
pub(super) enum Attribute {
    Float(f32),
    Int(i64),
    Ints(Vec<i64>),
}

/// A graph that is being built; a node's only output is named after the node.
#[derive(Default)]
pub(super) struct GraphBuilder {
    graph: GraphProto,
}

impl GraphBuilder {
    pub(super) fn input(&mut self, name: &str, shape: &[Dimension]) -> Value {
        self.graph.input.push(value_info(name, INT64, shape));
        Value(name.to_owned())
    }

    pub(super) fn floats(&mut self, name: &str, shape: &[usize], data: &[f32]) -> Value {
        let raw = data.iter().flat_map(|x| x.to_le_bytes()).collect();
        self.constant(name, FLOAT, shape, raw)
    }

    pub(super) fn ints(&mut self, name: &str, shape: &[usize], data: &[i64]) -> Value {
        let raw = data.iter().flat_map(|x| x.to_le_bytes()).collect();
        self.constant(name, INT64, shape, raw)
    }

    pub(super) fn bytes(&mut self, name: &str, shape: &[usize], data: &[i8]) -> Value {
        let raw = data.iter().flat_map(|x| x.to_le_bytes()).collect();
        self.constant(name, INT8, shape, raw)
    }

    pub(super) fn node(&mut self, op: &str, name: &str, inputs: &[&Value]) -> Value {
        self.node_with(op, name, inputs, Vec::new())
    }

    pub(super) fn node_with(
        &mut self,
        op: &str,
        name: &str,
        inputs: &[&Value],
        attributes: Vec<(&str, Attribute)>,
    ) -> Value {
        self.push(op, name, inputs, vec![name.to_owned()], attributes);
        Value(name.to_owned())
    }

    /// A node with several outputs, named after the node and `parts`.
    pub(super) fn node_of<const N: usize>(
        &mut self,
        op: &str,
        name: &str,
        inputs: &[&Value],
        parts: [&str; N],
    ) -> [Value; N] {
        let outputs = parts.map(|part| format!("{name}.{part}"));
        self.push(op, name, inputs, outputs.to_vec(), Vec::new());
        outputs.map(Value)
    }

    pub(super) fn finish(mut self, name: &str, output: &Value, shape: &[Dimension]) -> ModelProto {
        name.clone_into(&mut self.graph.name);
        self.graph.output.push(value_info(&output.0, FLOAT, shape));
        ModelProto {
            ir_version: IR_VERSION,
            producer_name: env!("CARGO_PKG_NAME").to_owned(),
            producer_version: env!("CARGO_PKG_VERSION").to_owned(),
            graph: Some(self.graph),
            opset_import: vec![OperatorSetIdProto { domain: String::new(), version: OPSET_VERSION }],
        }
    }

    fn push(
        &mut self,
        op: &str,
        name: &str,
        inputs: &[&Value],
        outputs: Vec<String>,
        attributes: Vec<(&str, Attribute)>,
    ) {
        self.graph.node.push(NodeProto {
            input: inputs.iter().map(|value| value.0.clone()).collect(),
            output: outputs,
            name: name.to_owned(),
            op_type: op.to_owned(),
            attribute: attributes.into_iter().map(|(name, value)| attribute(name, value)).collect(),
        });
    }

    fn constant(&mut self, name: &str, data_type: i32, shape: &[usize], raw: Vec<u8>) -> Value {
        self.graph.initializer.push(TensorProto {
            dims: shape.iter().map(|&size| size as i64).collect(),
            data_type,
            name: name.to_owned(),
            raw_data: raw,
        });
        Value(name.to_owned())
    }
}

fn attribute(name: &str, value: Attribute) -> AttributeProto {
    let (f, i, ints, kind) = match value {
        Attribute::Float(f) => (Some(f), None, Vec::new(), 1),
        Attribute::Int(i) => (None, Some(i), Vec::new(), 2),
        Attribute::Ints(ints) => (None, None, ints, 7),
    };
    AttributeProto { name: name.to_owned(), f, i, ints, r#type: kind }
}

fn value_info(name: &str, elem_type: i32, shape: &[Dimension]) -> ValueInfoProto {
    let dim = shape.iter().map(dimension).collect();
    ValueInfoProto {
        name: name.to_owned(),
        r#type: Some(TypeProto {
            tensor_type: Some(TensorTypeProto { elem_type, shape: Some(TensorShapeProto { dim }) }),
        }),
    }
}

fn dimension(dimension: &Dimension) -> DimensionProto {
    match dimension {
        Dimension::Fixed(size) => DimensionProto { dim_value: Some(*size as i64), dim_param: None },
        Dimension::Named(name) => DimensionProto { dim_value: None, dim_param: Some((*name).to_owned()) },
    }
}
