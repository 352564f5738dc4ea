//! What a source file defines, by name.

use syn::{Ident, ImplItem, Item, TraitItem};

/// One definition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Symbol {
    /// Its name, without path.
    pub name: String,
    /// What it is.
    pub kind: Kind,
    /// The how-manieth definition of its file it is.
    pub ordinal: u32,
}

/// What a name stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are Rust's own")]
#[repr(u32)]
pub enum Kind {
    Constant,
    Enum,
    Variant,
    Function,
    Method,
    Macro,
    Module,
    Struct,
    Trait,
    Type,
    Union,
}

/// All definitions of a file, those in inline modules, traits and impls included.
pub fn of_file(file: &syn::File) -> Vec<Symbol> {
    let mut collector = Collector::default();
    collector.items(&file.items);
    collector.found
}

#[derive(Default)]
struct Collector {
    found: Vec<Symbol>,
}

impl Collector {
    fn add(&mut self, name: &Ident, kind: Kind) {
        let ordinal = self.found.len() as u32;
        self.found.push(Symbol { name: name.to_string(), kind, ordinal });
    }

    fn items(&mut self, items: &[Item]) {
        items.iter().for_each(|item| self.item(item));
    }

    fn item(&mut self, item: &Item) {
        match item {
            Item::Const(item) => self.add(&item.ident, Kind::Constant),
            Item::Static(item) => self.add(&item.ident, Kind::Constant),
            Item::Fn(item) => self.add(&item.sig.ident, Kind::Function),
            Item::Macro(item) => item.ident.iter().for_each(|name| self.add(name, Kind::Macro)),
            Item::Struct(item) => self.add(&item.ident, Kind::Struct),
            Item::Type(item) => self.add(&item.ident, Kind::Type),
            Item::Union(item) => self.add(&item.ident, Kind::Union),
            Item::Impl(item) => item.items.iter().for_each(|item| self.impl_item(item)),
            Item::Enum(item) => {
                self.add(&item.ident, Kind::Enum);
                item.variants.iter().for_each(|variant| self.add(&variant.ident, Kind::Variant));
            }
            Item::Mod(item) => {
                self.add(&item.ident, Kind::Module);
                item.content.iter().for_each(|(_, items)| self.items(items));
            }
            Item::Trait(item) => {
                self.add(&item.ident, Kind::Trait);
                item.items.iter().for_each(|item| self.trait_item(item));
            }
            _ => (),
        }
    }

    fn impl_item(&mut self, item: &ImplItem) {
        match item {
            ImplItem::Const(item) => self.add(&item.ident, Kind::Constant),
            ImplItem::Fn(item) => self.add(&item.sig.ident, Kind::Method),
            ImplItem::Type(item) => self.add(&item.ident, Kind::Type),
            _ => (),
        }
    }

    fn trait_item(&mut self, item: &TraitItem) {
        match item {
            TraitItem::Const(item) => self.add(&item.ident, Kind::Constant),
            TraitItem::Fn(item) => self.add(&item.sig.ident, Kind::Method),
            TraitItem::Type(item) => self.add(&item.ident, Kind::Type),
            _ => (),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn definitions_are_found_at_every_depth() {
        let text = "mod m { enum E { A, B } } trait T { fn t(); } impl T for E { fn t() {} } static S: u8 = 0;";
        let found = of_file(&syn::parse_file(text).unwrap());
        let names: Vec<_> = found.iter().map(|symbol| (symbol.name.as_str(), symbol.kind)).collect();
        let expected = [
            ("m", Kind::Module),
            ("E", Kind::Enum),
            ("A", Kind::Variant),
            ("B", Kind::Variant),
            ("T", Kind::Trait),
            ("t", Kind::Method),
            ("t", Kind::Method),
            ("S", Kind::Constant),
        ];
        assert_eq!(names, expected);
        assert!(found.iter().enumerate().all(|(place, symbol)| symbol.ordinal == place as u32));
    }
}
