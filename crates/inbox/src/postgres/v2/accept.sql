-- Stores a batch of deliveries, as before; what is unnested in the list of a SELECT is not put aside first, which costs as much as an
-- index.
CREATE OR REPLACE FUNCTION accept(
    sources text[], client_ids text[], message_ids text[], derived boolean[], dialects text[], environments text[],
    event_types text[], versions integer[], usernames text[], event_times bigint[], digests bytea[], keys text[],
    formats text[], ordering_keys text[], entities bigint[], states smallint[], headers text[], bodies bytea[],
    identities uuid[], given_time bigint, OUT ids bigint[], OUT outcomes smallint[]
) LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    at bigint;
    source_ids integer[];
    present smallint;
    known record;
    place integer;
BEGIN
    SELECT array_agg(s.id ORDER BY n) INTO source_ids
        FROM unnest(sources) WITH ORDINALITY i (name, n) JOIN source s ON s.name = i.name;
    IF cardinality(source_ids) IS DISTINCT FROM cardinality(sources) THEN
        INSERT INTO source (name) SELECT DISTINCT name FROM unnest(sources) name ORDER BY 1 ON CONFLICT DO NOTHING;
        SELECT array_agg(s.id ORDER BY n) INTO source_ids
            FROM unnest(sources) WITH ORDINALITY i (name, n) JOIN source s ON s.name = i.name;
    END IF;
    PERFORM pg_advisory_xact_lock(2003333121, one) FROM (SELECT DISTINCT unnest(source_ids) AS one ORDER BY 1) locked;
    at := time_or_now(given_time);
    SELECT c.seen_generation INTO present FROM control c;
    outcomes := array_fill(0::smallint, ARRAY[cardinality(sources)]);
    ids := array_fill(NULL::bigint, ARRAY[cardinality(sources)]);
    FOR known IN SELECT s.identity, s.id, s.generation FROM seen s WHERE s.identity = ANY (identities) LOOP
        place := array_position(identities, known.identity);
        IF NOT EXISTS (SELECT FROM kept k WHERE k.id = known.id) THEN
            -- Its delivery has been pruned, so that it is new again.
            DELETE FROM seen s WHERE s.identity = known.identity AND s.generation = known.generation;
            CONTINUE;
        END IF;
        ids[place] := known.id;
        outcomes[place] := CASE (SELECT d.digest FROM delivery d WHERE d.id = known.id) WHEN digests[place] THEN 1 ELSE 2 END;
        IF outcomes[place] = 2 OR derived[place] THEN
            INSERT INTO resend AS r (id, conflicts, recognised)
            VALUES (known.id, (outcomes[place] = 2)::integer, (outcomes[place] = 1)::integer)
            ON CONFLICT (id) DO UPDATE SET
                conflicts = r.conflicts + excluded.conflicts, recognised = r.recognised + excluded.recognised;
        END IF;
    END LOOP;
    SELECT array_agg(coalesce(i.id, nextval('webhook_inbox.delivery_id')) ORDER BY n) INTO ids
        FROM unnest(ids) WITH ORDINALITY i (id, n);
    INSERT INTO seen (identity, generation, id)
        SELECT i.identity, present, i.id
        FROM (SELECT unnest(identities) AS identity, unnest(ids) AS id, unnest(outcomes) AS outcome) i WHERE i.outcome = 0;
    INSERT INTO delivery (id, source_id, client_id, message_id, message_id_derived, dialect, environment, event_type,
        version, username, event_time, received_at, digest, key, format, ordering_key, entity, state, headers, body)
    SELECT i.id, i.source_id, i.client_id, i.message_id, i.derived, i.dialect, i.environment, i.event_type,
        i.version, i.username, i.event_time, at, i.digest, i.key, i.format, i.ordering_key, i.entity, i.state,
        i.headers, i.body
    FROM (SELECT
        unnest(ids) AS id, unnest(outcomes) AS outcome, unnest(source_ids) AS source_id, unnest(client_ids) AS client_id,
        unnest(message_ids) AS message_id, unnest(derived) AS derived, unnest(dialects) AS dialect,
        unnest(environments) AS environment, unnest(event_types) AS event_type, unnest(versions) AS version,
        unnest(usernames) AS username, unnest(event_times) AS event_time, unnest(digests) AS digest, unnest(keys) AS key,
        unnest(formats) AS format, unnest(ordering_keys) AS ordering_key, unnest(entities) AS entity,
        unnest(states) AS state, unnest(headers) AS headers, unnest(bodies) AS body) i
    WHERE i.outcome = 0;
END $$;
