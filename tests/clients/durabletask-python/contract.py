"""Prints the contract as the SDK describes it: a line for each message, field, value and call."""

from durabletask.internal import orchestrator_service_pb2
from google.protobuf import descriptor_pb2


def describe(message: descriptor_pb2.DescriptorProto) -> None:
    """Prints a message and those within it."""
    print(f"message {message.name}")
    for field in message.field:
        oneof = message.oneof_decl[field.oneof_index].name if field.HasField("oneof_index") else ""
        reference = field.type_name.lstrip(".")
        print(f"{message.name}.{field.name} = {field.number} label {field.label} type {field.type} {reference} {oneof}")
    for nested in message.nested_type:
        describe(nested)


contract = descriptor_pb2.FileDescriptorProto()
orchestrator_service_pb2.DESCRIPTOR.CopyToProto(contract)
for message in contract.message_type:
    describe(message)
for values in contract.enum_type:
    for value in values.value:
        print(f"{values.name}.{value.name} = {value.number}")
for service in contract.service:
    for method in service.method:
        given, answered = method.input_type.lstrip("."), method.output_type.lstrip(".")
        streams = f"({str(method.client_streaming).lower()}, {str(method.server_streaming).lower()})"
        print(f"{service.name}.{method.name}({given}) -> {answered} {streams}")
