"""Five ordinary calls of each program, with the clients that openapi-python-client has generated beside this file."""

import json
import os
import sys
import time

import bus_client
import receiver_client
from bus_client.api.attempts import list_attempts
from bus_client.api.events import list_events, publish_events
from bus_client.api.subscriptions import create_subscription, get_subscription
from bus_client.models import NewSubscription, Publication
from receiver_client.api.health_and_metrics import healthz, metrics
from receiver_client.api.hooks import directscale_autoships_create_autoship
from receiver_client.api.order import directscale_order_event
from receiver_client.models import AutoshipRequest, OrderEvent, Problem


def main():
    receiver, bus, key = os.environ["RECEIVER"], os.environ["BUS"], os.environ["KEY"]
    call_receiver(receiver, key)
    call_bus(bus)
    print("the clients in Python have made ten calls")


def call_receiver(url, key):
    client = receiver_client.AuthenticatedClient(base_url=url, token=key)
    with open("receiver.json", encoding="utf-8") as file:
        document = json.load(file)
    order = OrderEvent.from_dict(document["components"]["requestBodies"]["directscale_OrderEvent"]["content"]["application/json"]["example"])

    accepted = directscale_order_event.sync(client=client, body=order, x_directscale_message_id="python-1")
    assert accepted.status == "accepted", accepted
    again = directscale_order_event.sync(client=client, body=order, x_directscale_message_id="python-1")
    assert (again.status, again.delivery_id) == ("duplicate", accepted.delivery_id), again

    stranger = receiver_client.AuthenticatedClient(base_url=url, token="wrong")
    refused = directscale_order_event.sync(client=stranger, body=order)
    assert isinstance(refused, Problem) and refused.status == 401, refused

    call = document["paths"]["/api/hooks/Autoships.CreateAutoship"]["post"]
    request = AutoshipRequest.from_dict(call["requestBody"]["content"]["application/json"]["example"])
    answer = directscale_autoships_create_autoship.sync(
        client=client, body=request, x_direct_scale_callback_token="token-1"
    )
    assert not isinstance(answer, Problem) and answer is not None, answer

    open_client = receiver_client.Client(base_url=url)
    assert healthz.sync(client=open_client) == "ok\n"
    assert "webhook_deliveries_total" in metrics.sync(client=open_client)


def call_bus(url):
    client = bus_client.Client(base_url=url)
    new = NewSubscription(name="python", events=["Python*"], target=f"{url}/healthz", retries="1s, 1s")
    created = create_subscription.sync(client=client, body=new)
    assert created.subscription.name == "python", created
    shown = get_subscription.sync("python", client=client)
    assert shown.health.standing == "active", shown
    receipt = publish_events.sync(client=client, body=Publication.from_dict({"type": "PythonEvent", "data": {"n": 1}}))
    assert (receipt.status, receipt.deliveries) == ("accepted", 1), receipt
    page = list_events.sync(client=client, type_="PythonEvent")
    assert [event.id for event in page.items] == [receipt.id] and page.next_ is None, page

    deadline = time.monotonic() + 20
    while not (attempts := list_attempts.sync(client=client, subscription="python", limit=5).items):
        assert time.monotonic() < deadline, "no attempt was made"
        time.sleep(0.1)
    assert attempts[0].event == receipt.id, attempts


if __name__ == "__main__":
    sys.exit(main())
