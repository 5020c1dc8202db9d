//! Settings as messages have them.

use proto::admin::v1::{Setting, SettingSource};

use crate::{
    config::{Config, Layer},
    topic_config::{ConfigEntry, source},
};

/// Of the node; all of them, by name.
pub(super) fn of_node(config: &Config) -> Vec<Setting> {
    let entries = config.describe().into_iter();
    let told = entries.map(|entry| {
        let from = of_layer(config.text(&entry.name).1);
        told(entry, from)
    });
    told.collect()
}

/// Of a topic.
pub(super) fn of_topic(entry: ConfigEntry) -> Setting {
    let from = match entry.source {
        source::TOPIC => SettingSource::Topic,
        source::DEFAULT => SettingSource::Default,
        _ => SettingSource::NodeDefault,
    };
    told(entry, from)
}

fn told(entry: ConfigEntry, from: SettingSource) -> Setting {
    Setting {
        name: entry.name,
        value: entry.value,
        source: from.into(),
        read_only: entry.read_only,
        documentation: entry.doc,
    }
}

fn of_layer(layer: Layer) -> SettingSource {
    match layer {
        Layer::Default => SettingSource::Default,
        Layer::File => SettingSource::File,
        Layer::Env => SettingSource::Environment,
        Layer::Flag => SettingSource::Flag,
        Layer::DynamicDefault => SettingSource::AllNodes,
        Layer::DynamicBroker => SettingSource::Node,
    }
}
