// Node as an origin: it says in its answer how it has read the request.
const http = require('http')
const patience = Number(process.argv[2])

const server = http.createServer({
  headersTimeout: patience, requestTimeout: patience, keepAliveTimeout: patience, connectionsCheckingInterval: 100,
}, (request, response) => {
  response.sendDate = false
  if (request.url === '/304') {
    response.writeHead(304, { ETag: '"1"' }).end()
    return
  }
  const body = []
  request.on('data', (chunk) => body.push(chunk))
  request.on('end', () => response.end(JSON.stringify([
    request.method, request.url, request.httpVersion, request.rawHeaders,
    Buffer.concat(body).toString('latin1'), request.rawTrailers,
  ]) + '\n'))
})
server.httpAllowHalfOpen = true // a client that has said everything still gets its answer
server.on('connect', (request, socket, head) => tunnel(request, socket, head, 'HTTP/1.1 200 OK\r\n\r\n'))
server.on('upgrade', (request, socket, head) => tunnel(request, socket, head, 'HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n\r\n'))

// tunnel sends back what comes in it.
function tunnel(request, socket, head, answer) {
  socket.on('error', () => {})
  socket.write(answer + request.url + '\n')
  socket.write(head)
  socket.pipe(socket)
}

server.listen({ fd: 3 })
