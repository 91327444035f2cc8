#!/bin/sh
# azd runs this after a deployment. Prints how to call the relay; the key itself is never printed.
set -eu

try() {
    echo "The relay is at $1"
    echo
    case "${RELAY_CALLERS:-key}" in
    entra)
        echo "    TOKEN=\$(az account get-access-token --scope api://$RELAY_ENTRA_AUDIENCE/.default --query accessToken -o tsv)" ;;
    *)
        echo "    TOKEN=\$(az keyvault secret show --vault-name $AZURE_KEY_VAULT_NAME --name callers-key --query value -o tsv)" ;;
    esac
    echo "    curl -N $1/api/chat-stream -H \"authorization: Bearer \$TOKEN\" -H 'content-type: application/json' \\"
    echo "        -d '{\"messages\":[{\"role\":\"user\",\"content\":\"Hello\"}]}'"
    echo
}

[ -z "${RELAY_FUNCTION_URL:-}" ] || try "$RELAY_FUNCTION_URL"
[ -z "${RELAY_CONTAINER_URL:-}" ] || try "$RELAY_CONTAINER_URL"
