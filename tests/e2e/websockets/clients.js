// Opens WebSockets that send 2 kB each 5 ms. Prints `all echo` once each has an answer, and `closed CODE` for each.
const WebSocket = require("ws");

const [url, count] = process.argv.slice(2);
let echoing = 0;
for (let number = 0; number < count; number += 1) {
  const socket = new WebSocket(url);
  let sending;
  socket.on("open", () => {
    sending = setInterval(() => socket.send("x".repeat(2000)), 5);
  });
  socket.once("message", () => {
    echoing += 1;
    if (echoing === Number(count)) console.log("all echo");
  });
  socket.on("error", (error) => console.log(`error ${error}`));
  socket.on("close", (code) => {
    clearInterval(sending);
    console.log(`closed ${code}`);
  });
}
