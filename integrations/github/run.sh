#!/usr/bin/env bash
# Runs the commands of a step once a person has approved them, with the facts of the job.
#
# The inputs come as INPUT_… (action.yml), so that no text of theirs is ever part of a script. Whoever cancels the job
# signals this process: it becomes `placet`, which withdraws the question, and then the commands themselves.
set -euo pipefail

for name in ACTION RUN URL CLIENT; do
  input=INPUT_$name
  if [ -z "${!input-}" ]; then
    echo "::error::the input \`$(tr '[:upper:]' '[:lower:]' <<< "$name")\` is needed"
    exit 2
  fi
done
if [ -z "${PLACET_SECRET-}" ]; then
  echo "::error::the input \`secret\` is empty; a workflow of a fork gets no secrets"
  exit 2
fi

# What is known of the job, as GitHub says it.
facts=()
fact() { [ -z "$2" ] || facts+=(--fact "$1=$2"); }
fact repository "${GITHUB_REPOSITORY-}"
fact commit "${GITHUB_SHA-}"
fact ref "${GITHUB_REF-}"
fact workflow "${GITHUB_WORKFLOW-}"
fact job "${GITHUB_JOB-}"
fact event "${GITHUB_EVENT_NAME-}"
fact started_by "${GITHUB_TRIGGERING_ACTOR-${GITHUB_ACTOR-}}"
fact attempt "${GITHUB_RUN_ATTEMPT-}"
[ -z "${GITHUB_RUN_ID-}" ] || fact run "${GITHUB_SERVER_URL-https://github.com}/${GITHUB_REPOSITORY-}/actions/runs/$GITHUB_RUN_ID"
fact environment "${INPUT_ENVIRONMENT-}"

options=()
while IFS= read -r file; do
  file=${file#"${file%%[![:space:]]*}"}
  file=${file%"${file##*[![:space:]]}"}
  [ -z "$file" ] || options+=(--file "$file")
done <<< "${INPUT_FILES-}"
[ -z "${INPUT_TIMEOUT-}" ] || options+=(--timeout "$INPUT_TIMEOUT")
[ -z "${INPUT_REQUEST_ID-}" ] || options+=(--request-id "$INPUT_REQUEST_ID")
summary=${INPUT_SUMMARY-}
[ -n "$summary" ] || summary="${GITHUB_WORKFLOW-a workflow} of ${GITHUB_REPOSITORY-this repository} wants to run ${INPUT_ACTION}"

if [ -n "${INPUT_PLACET-}" ]; then
  placet=("$INPUT_PLACET")
elif command -v placet > /dev/null; then
  placet=(placet)
else
  # Nothing is fetched by a name: this step's environment holds the client's secret.
  echo "the \`placet\` command is not on the path: install it in an earlier step, or name it as the input \`placet\`" >&2
  exit 2
fi

url=$INPUT_URL client=$INPUT_CLIENT action=$INPUT_ACTION script=$INPUT_RUN
# The commands get the environment of the job, without this step's own variables.
for name in "${!INPUT_@}"; do unset "$name"; done

# No data folder lies here: the gate is the one at the address.
exec "${placet[@]}" run --url "$url" --data "${RUNNER_TEMP:-/tmp}/no-placet-data" --client "$client" --action "$action" \
  --summary "$summary" "${options[@]}" "${facts[@]}" -- bash --noprofile --norc -eo pipefail -c "$script"
