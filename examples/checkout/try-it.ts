export interface Addresses {
  /** Of the GraphQL endpoint. */
  readonly url: string
  /** Where runs are served over plain HTTP. */
  readonly runs: string
  readonly payments: string
}

/** Shell lines to paste as they are, into bash or zsh. The comments have no quotes, or zsh would take them for its own. */
export function linesToTry({ url, runs, payments }: Addresses): string {
  const post = (user: string, body: string): string =>
    `curl -s ${url} -H 'content-type: application/json' -H 'x-user: ${user}' -d '${body}'`

  return `# Ada checks out. A payment takes its time: she gets 202 and the id of a run that goes on without her.
ANSWER=$(${post('ada', query('mutation Checkout { checkout(cart: "42", items: [{ sku: "tea", quantity: 2 }, { sku: "cup", quantity: 1 }]) { order total approvedBy tracking } }')).replace('curl -s', 'curl -si')}); echo "$ANSWER"
RUN=$(echo "$ANSWER" | grep -o 'run_[0-9a-f]*' | head -1)

# What the run has done, and what it waits for. Kill the server if you like, start it again, and look again.
${post('ada', query('query Run($id: ID!) { durableRun(id: $id) { status waitingOn { step kind event until } steps { step status attempts } } }', `,"variables":{"id":"'$RUN'"}`))}; echo

# Nobody else sees it.
curl -s "${runs}/$RUN" -H 'x-user: mallory'; echo

# Grace, who may, approves the order.
${post('grace', query('mutation { sendDurableEvent(name: "order/approved", data: { orderId: "order-42", by: "Grace" }) }'))}; echo

# Ada waits for the end, and gets the response of her mutation.
curl -s "${runs}/$RUN?wait=30" -H 'x-user: ada'; echo

# A report: its fast parts come at once, the slow ones under the id of a run.
ANSWER=$(${post('ada', query('query Report { shop { name } report { title revenue bestsellers } }'))}); echo "$ANSWER"
curl -s "${runs}/$(echo "$ANSWER" | grep -o 'run_[0-9a-f]*' | head -1)?wait=30" -H 'x-user: ada'; echo

# What the payment service saw.
curl -s ${payments}/log; echo
`
}

function query(text: string, variables = ''): string {
  return `{"query":${JSON.stringify(text)}${variables}}`
}
