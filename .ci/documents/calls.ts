// Five ordinary calls of each program, with the clients that @hey-api/openapi-ts has generated beside this file.

import { createClient as createBusClient } from "./bus/client/index";
import {
    createSubscription,
    listAttempts,
    listEvents,
    pauseSubscription,
    publishEvents,
} from "./bus/sdk.gen";
import { createClient as createReceiverClient } from "./receiver/client/index";
import {
    directscaleAutoshipsGetAutoships,
    directscaleOrderEvent,
    healthz,
    metrics,
} from "./receiver/sdk.gen";

declare const process: { env: Record<string, string | undefined> };

function expect(condition: boolean, shown: unknown): asserts condition {
    if (!condition) throw new Error(`unexpected: ${JSON.stringify(shown)}`);
}

function setting(name: string): string {
    const value = process.env[name];
    if (value === undefined) throw new Error(`${name} is not set`);
    return value;
}

async function callReceiver(baseUrl: string, key: string): Promise<void> {
    const client = createReceiverClient({ baseUrl, auth: key });
    const order = {
        client,
        body: { OrderId: 1, OrderNumber: "1", AssociateId: 2 },
        headers: { "X-Directscale-Message-Id": "typescript-1" },
    };
    const accepted = await directscaleOrderEvent(order);
    expect(accepted.data?.status === "accepted", accepted.error);
    const again = await directscaleOrderEvent(order);
    expect(again.data?.status === "duplicate", again.error);

    const refused = await directscaleOrderEvent({ ...order, auth: "wrong" });
    expect(refused.response?.status === 401 && refused.error !== undefined, refused);

    const answer = await directscaleAutoshipsGetAutoships({
        client,
        body: { AssociateId: 2, IncludeServiceAutoships: true },
        headers: { "X-DirectScale-CallbackToken": "token-1" },
    });
    expect(Array.isArray(answer.data?.Autoships), answer.error);

    const alive = await healthz({ client });
    expect(alive.data === "ok\n", alive);
    const counted = await metrics({ client });
    expect(counted.data?.includes("webhook_deliveries_total") === true, counted.error);
}

async function callBus(baseUrl: string): Promise<void> {
    const client = createBusClient({ baseUrl });
    const created = await createSubscription({
        client,
        body: { name: "typescript", events: "TypeScript*", target: `${baseUrl}/healthz` },
    });
    expect(created.data?.subscription.environment === "live", created.error);
    const published = await publishEvents({
        client,
        body: [{ type: "TypeScriptEvent", id: "typescript-1", data: { n: 1 } }],
    });
    expect(Array.isArray(published.data) && published.data[0]?.deliveries === 1, published.error);
    const events = await listEvents({ client, query: { type: "TypeScriptEvent", limit: 10 } });
    expect(events.data?.items[0]?.id === "typescript-1", events.error);
    const attempts = await listAttempts({ client, query: { outcome: "delivered" } });
    expect(attempts.data?.items !== undefined, attempts.error);
    const paused = await pauseSubscription({ client, path: { name: "typescript" }, body: null });
    expect(paused.data?.health.standing === "paused", paused.error);
}

async function main(): Promise<void> {
    await callReceiver(setting("RECEIVER"), setting("KEY"));
    await callBus(setting("BUS"));
    console.log("the clients in TypeScript have made ten calls");
}

void main();
