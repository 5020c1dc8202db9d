//! DescribeCluster (key 60): versions 0 to 2. Endpoint type 1 (brokers) only; v2 has fenced brokers, of which there are none.

use kafka_compat::protocol::{
    messages::{
        BrokerId, DescribeClusterRequest, DescribeClusterResponse,
        describe_cluster_response::DescribeClusterBroker,
    },
    protocol::StrBytes,
};

use super::{Broker, authorized, error_code::Kafka};

const BROKERS: i8 = 1;
const CONTROLLERS: i8 = 2;

pub(super) fn handle(
    broker: &Broker,
    version: i16,
    request: &DescribeClusterRequest,
) -> DescribeClusterResponse {
    let answer = DescribeClusterResponse::default()
        .with_endpoint_type(BROKERS)
        .with_cluster_authorized_operations(authorized::of_cluster(
            request.include_cluster_authorized_operations,
        ));
    if version >= 1 && request.endpoint_type != BROKERS {
        let (code, why) = if request.endpoint_type == CONTROLLERS {
            (
                Kafka::MismatchedEndpointType,
                "The request was sent to an endpoint of type BROKER, but we wanted an endpoint of type CONTROLLER",
            )
        } else {
            (Kafka::UnsupportedEndpointType, "Unsupported endpoint type")
        };
        return answer
            .with_error_code(code.code())
            .with_error_message(Some(StrBytes::from_static_str(why)));
    }
    let image = broker.metadata.image();
    let brokers = image.brokers.iter().map(|(id, b)| {
        DescribeClusterBroker::default()
            .with_broker_id(BrokerId(*id))
            .with_host(StrBytes::from_string(b.host.clone()))
            .with_port(i32::from(b.port))
            .with_rack(b.rack.clone().map(StrBytes::from_string))
    });
    answer
        .with_cluster_id(StrBytes::from_string(image.cluster_id.clone()))
        .with_controller_id(BrokerId(image.controller))
        .with_brokers(brokers.collect())
}
