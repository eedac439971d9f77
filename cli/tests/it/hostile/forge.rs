//! Messages that nobody would send: made of the contract's descriptors, with values from the edges, and then damaged.

use std::collections::HashMap;

use prost::{Message, encoding::encode_varint};
use prost_types::{
    DescriptorProto, FieldDescriptorProto, FileDescriptorSet,
    field_descriptor_proto::{Label, Type},
};

/// A collection that is there, at first.
pub const COLLECTION: &str = "docs";

/// Messages within messages.
const MAX_DEPTH: usize = 5;

/// A method of the contract.
#[derive(Clone, Debug)]
pub struct Method {
    /// Its path, with the slash in front.
    pub path: String,
    input: String,
    takes_many: bool,
}

/// Texts from the edges of what is taken, or from beyond.
const TEXTS: [&str; 24] = [
    COLLECTION,
    COLLECTION,
    "a",
    "",
    " ",
    "How are signing keys rotated?",
    "\"signing keys\"",
    "stars = 1",
    "language = \"en\" AND NOT uri IS NULL",
    "language = \"a\") OR (language != \"a\"",
    "document_id IN (\"a\", \"b\")",
    "((((",
    "../../etc/passwd",
    "minilm",
    "extractive",
    "nobody",
    "en",
    "\u{0}\u{7}\u{1b}[31m",
    "e\u{301}\u{feff}\u{202e}中文",
    "1",
    "# Heading\n\n```\ncode\n",
    "---\ntitle: [\n---\n",
    "{{ query }}",
    "%s%n",
];

const NUMBERS: [u64; 10] = [0, 0, 1, 2, 3, 100, 1 << 31, u32::MAX as u64, i64::MAX as u64, u64::MAX];

const FRACTIONS: [f64; 9] = [0.0, -0.0, 0.5, 1.0, -1.0, 1e308, f64::MIN_POSITIVE, f64::NAN, f64::INFINITY];

/// What callers put beside a message. Each call has a short time, for some of them wait for what never comes.
const METADATA: [(&str, &str); 10] = [
    ("grpc-timeout", "999999999999S"),
    ("grpc-timeout", "-1S"),
    ("grpc-encoding", "gzip"),
    ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
    ("traceparent", "ff-zz"),
    ("tracestate", ",,,=,=,"),
    ("baggage", "a=b;c,,%00"),
    ("authorization", "Bearer a.b.c"),
    ("authorization", "Basic Og=="),
    ("trivium-tenant", "../other"),
];

/// Makes messages.
pub struct Forge {
    types: HashMap<String, DescriptorProto>,
    methods: Vec<Method>,
    /// The state of SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number generators").
    random: u64,
}

impl Forge {
    pub fn new() -> Self {
        let files = FileDescriptorSet::decode(trivium_proto::FILE_DESCRIPTOR_SET).expect("compiled in").file;
        let (mut types, mut methods) = (HashMap::new(), Vec::new());
        for file in &files {
            let package = format!(".{}", file.package());
            file.message_type.iter().for_each(|message| collect(&package, message, &mut types));
            for service in &file.service {
                methods.extend(service.method.iter().map(|method| Method {
                    path: format!("/{}.{}/{}", file.package(), service.name(), method.name()),
                    input: method.input_type().to_owned(),
                    takes_many: method.client_streaming(),
                }));
            }
        }
        assert!(methods.len() >= 35, "{methods:?}");
        Self { types, methods, random: 7 }
    }

    pub fn methods(&self) -> Vec<Method> {
        self.methods.clone()
    }

    /// What a call of a method sends.
    pub fn messages(&mut self, method: &Method) -> Vec<Vec<u8>> {
        let count = if method.takes_many { self.below(4) } else { 1 };
        (0..count).map(|_| self.message(method)).collect()
    }

    /// What it sends beside them.
    pub fn metadata(&mut self) -> Vec<(&'static str, &'static str)> {
        let mut metadata = Vec::new();
        while self.below(3) == 0 {
            metadata.push(self.one_of(&METADATA));
        }
        if !metadata.iter().any(|(name, _)| *name == "grpc-timeout") {
            metadata.push(("grpc-timeout", "500m"));
        }
        metadata
    }

    fn message(&mut self, method: &Method) -> Vec<u8> {
        let mut bytes = self.of_type(&method.input, 0);
        if self.below(4) == 0 {
            self.damage(&mut bytes);
        }
        bytes
    }

    fn of_type(&mut self, name: &str, depth: usize) -> Vec<u8> {
        let fields = self.types.get(name).map(|message| message.field.clone()).unwrap_or_default();
        let mut bytes = Vec::new();
        for field in fields {
            let count = match field.label() {
                Label::Repeated => self.below(4),
                // What is required more often than not is set more often than not.
                _ => self.below(3).min(1),
            };
            for _ in 0..count {
                self.field(&field, depth, &mut bytes);
            }
        }
        bytes
    }

    fn field(&mut self, field: &FieldDescriptorProto, depth: usize, bytes: &mut Vec<u8>) {
        let tag = u64::from(field.number().unsigned_abs()) << 3;
        let mut delimited = |value: &[u8]| {
            encode_varint(tag | 2, bytes);
            encode_varint(value.len() as u64, bytes);
            bytes.extend_from_slice(value);
        };
        match field.r#type() {
            Type::Message if depth < MAX_DEPTH => {
                let inner = self.of_type(field.type_name(), depth + 1);
                delimited(&inner);
            }
            Type::Message | Type::Group => {}
            Type::String => delimited(self.text().as_bytes()),
            Type::Bytes => {
                let random = self.next().to_le_bytes();
                delimited(&random);
            }
            Type::Double => {
                encode_varint(tag | 1, bytes);
                bytes.extend_from_slice(&self.one_of(&FRACTIONS).to_le_bytes());
            }
            Type::Float => {
                encode_varint(tag | 5, bytes);
                bytes.extend_from_slice(&(self.one_of(&FRACTIONS) as f32).to_le_bytes());
            }
            Type::Fixed64 | Type::Sfixed64 => {
                encode_varint(tag | 1, bytes);
                bytes.extend_from_slice(&self.one_of(&NUMBERS).to_le_bytes());
            }
            Type::Fixed32 | Type::Sfixed32 => {
                encode_varint(tag | 5, bytes);
                bytes.extend_from_slice(&(self.one_of(&NUMBERS) as u32).to_le_bytes());
            }
            _ => {
                encode_varint(tag, bytes);
                encode_varint(self.one_of(&NUMBERS), bytes);
            }
        }
    }

    /// A text from the list, and now and then a long one.
    fn text(&mut self) -> String {
        let text = self.one_of(&TEXTS);
        let times = if self.below(16) == 0 { 1 << self.below(14) } else { 1 };
        text.repeat(times)
    }

    /// Changes, takes out and cuts off bytes.
    fn damage(&mut self, bytes: &mut Vec<u8>) {
        for _ in 0..=self.below(4) {
            if bytes.is_empty() {
                bytes.push(self.next() as u8);
            }
            let place = self.below(bytes.len());
            match self.below(3) {
                0 => bytes[place] = self.next() as u8,
                1 => drop(bytes.remove(place)),
                _ => bytes.truncate(place),
            }
        }
    }

    fn one_of<T: Copy>(&mut self, values: &[T]) -> T {
        values[self.below(values.len())]
    }

    /// A number below `limit`, which is at least 1.
    fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit as u64) as usize
    }

    fn next(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.random;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

fn collect(package: &str, message: &DescriptorProto, types: &mut HashMap<String, DescriptorProto>) {
    let name = format!("{package}.{}", message.name());
    message.nested_type.iter().for_each(|nested| collect(&name, nested, types));
    types.insert(name, message.clone());
}
