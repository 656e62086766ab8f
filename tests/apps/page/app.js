// Shows the items there are.
const items = await (await fetch('/api/items')).json();
const list = document.getElementById('items');
for (const { title } of items) {
  const entry = document.createElement('li');
  entry.textContent = title;
  list.append(entry);
}
document.body.dataset.loaded = 'true';
