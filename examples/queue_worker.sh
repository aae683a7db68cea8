#!/bin/sh
# A worker of a queue with nothing but curl and jq: it takes a text and gives it back in capitals.
#
# A pool starts it while the queue holds messages, and stops it when there is nothing left to do; where the queue is, and
# with which token it may work on it, it finds in its environment:
#
#   PUT /v1/queues/letters
#   PUT /v1/pools/shouting  {"queue": "letters", "job": {"args": ["/usr/local/bin/queue_worker.sh"]}}
#
# Whatever it does, a message is not lost: one that it does not acknowledge comes back when its lease is over.
set -u

ask() { # PATH BODY
    curl --silent --fail --max-time 40 --request POST "$DOGWATCH_QUEUE_URL/$1" \
        --header "authorization: Bearer $DOGWATCH_QUEUE_TOKEN" --header 'content-type: application/json' --data "$2"
}

while :; do
    # A server that is started again is there again in a moment.
    answer=$(ask receive '{"max": 1, "lease": "60s", "wait": "20s"}') || { sleep 0.5; continue; }
    message=$(printf '%s' "$answer" | jq --compact-output '.messages[0] // empty')
    [ -n "$message" ] || continue
    id=$(printf '%s' "$message" | jq --raw-output .id)
    receipt=$(printf '%s' "$message" | jq .receipt)

    if text=$(printf '%s' "$message" | jq --exit-status --raw-output '.body | strings'); then
        result=$(printf '%s' "$text" | tr '[:lower:]' '[:upper:]' | jq --raw-input --slurp .)
        ask "messages/$id/ack" "{\"receipt\": $receipt, \"result\": $result}" >/dev/null
    else
        ask "messages/$id/nack" "{\"receipt\": $receipt, \"error\": \"it is no text\"}" >/dev/null
    fi
done
